//go:build cgo && amd64

package vulkan

import (
	"fmt"

	"golang.org/x/sys/windows"

	"patchwork/engine"
)

const library = "vulkan-1.dll"

// loaderFunction returns the address of a function of the Vulkan library, which graphics drivers
// install among the system's.
func loaderFunction(name string) (uintptr, error) {
	lib := windows.NewLazySystemDLL(library)
	if err := lib.Load(); err != nil {
		return 0, fmt.Errorf("the Vulkan loader %s is not installed (it comes with the driver of a graphics card): %w", library, engine.ErrNoDevice)
	}
	function := lib.NewProc(name)
	if err := function.Find(); err != nil {
		return 0, fmt.Errorf("%s is not a Vulkan loader: %w", library, engine.ErrNoDevice)
	}
	return function.Addr(), nil
}
