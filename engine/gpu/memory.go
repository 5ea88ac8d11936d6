// Package gpu holds what the Vulkan and WebGPU backends share: how a plan becomes
// calls over device memory, with an arena and parameter blocks, and which memory a
// device accepts.
package gpu

import (
	"fmt"

	"patchwork/engine"
)

// Memory is a backend's allocation on a device of type D.
type Memory[D any] interface {
	comparable
	engine.Memory
	Owner() D // the zero D once freed
}

// Own returns a memory of this device, or an error for a foreign or freed one.
func Own[M Memory[D], D comparable](dev D, name string, m engine.Memory) (M, error) {
	var none M
	var freed D
	mine, ok := m.(M)
	switch {
	case !ok || mine == none:
		return none, fmt.Errorf("%s: %T is not memory of this device", name, m)
	case mine.Owner() == freed:
		return none, fmt.Errorf("%s: memory of %s was used after it was freed", name, engine.Bytes(mine.Size()))
	case mine.Owner() != dev:
		return none, fmt.Errorf("%s: memory of another device", name)
	}
	return mine, nil
}

// OwnRange is Own for n bytes from offset on.
func OwnRange[M Memory[D], D comparable](dev D, name string, m engine.Memory, offset int64, n int) (M, error) {
	mine, err := Own[M](dev, name, m)
	if err == nil && (offset < 0 || offset > mine.Size()-int64(n)) {
		err = fmt.Errorf("%s: %d bytes at %d of memory of %d bytes", name, n, offset, mine.Size())
	}
	return mine, err
}
