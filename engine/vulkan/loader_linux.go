//go:build cgo && (amd64 || arm64)

package vulkan

import (
	"fmt"

	"github.com/ebitengine/purego"

	"patchwork/engine"
)

const library = "libvulkan.so.1"

// loaderFunction returns the address of a function of the Vulkan library.
func loaderFunction(name string) (uintptr, error) {
	lib, err := purego.Dlopen(library, purego.RTLD_NOW|purego.RTLD_LOCAL)
	if err != nil {
		return 0, fmt.Errorf("the Vulkan loader %s is not installed (on Debian: apt install libvulkan1): %w", library, engine.ErrNoDevice)
	}
	address, err := purego.Dlsym(lib, name)
	if err != nil {
		return 0, fmt.Errorf("%s is not a Vulkan loader: %w", library, engine.ErrNoDevice)
	}
	return address, nil
}
