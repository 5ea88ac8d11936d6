//go:build !(cgo && linux && (amd64 || arm64))

package vulkan

import (
	"fmt"

	"patchwork/engine"
)

// Built reports whether the backend is in this binary.
const Built = false

var errNotBuilt = fmt.Errorf("this binary was built without Vulkan, which needs cgo (CGO_ENABLED=1 and a C compiler) and 64-bit Linux: %w", engine.ErrUnsupported)

// List says that there is no Vulkan in this binary.
func List() ([]engine.Info, error) { return nil, errNotBuilt }

// Open says that there is no Vulkan in this binary.
func Open(int) (engine.Device, error) { return nil, errNotBuilt }

// Diagnose says that there is no Vulkan in this binary.
func Diagnose() error { return errNotBuilt }
