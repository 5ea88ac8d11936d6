//go:build !(cgo && !nowebgpu && ((linux && amd64) || darwin || (windows && amd64)))

package webgpu

import (
	"fmt"

	"patchwork/engine"
)

var errNotBuilt = fmt.Errorf("this binary was built without WebGPU, which needs cgo (CGO_ENABLED=1 and a C compiler) and no build tag nowebgpu: %w", engine.ErrUnsupported)

// List says that there is no WebGPU in this binary.
func List() ([]engine.Info, error) { return nil, errNotBuilt }

// Open says that there is no WebGPU in this binary.
func Open(int) (engine.Device, error) { return nil, errNotBuilt }
