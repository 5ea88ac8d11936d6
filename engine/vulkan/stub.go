//go:build !(cgo && linux && (amd64 || arm64))

package vulkan

import (
	"fmt"

	"patchwork/engine"
)

// Built reports whether the backend is in this binary.
const Built = false

var errNotBuilt = fmt.Errorf("this binary was built without Vulkan, which needs cgo (CGO_ENABLED=1 and a C compiler) and 64-bit Linux: %w", engine.ErrUnsupported)

// List returns an error: this binary has no Vulkan.
func List() ([]engine.Info, error) { return nil, errNotBuilt }

// Open returns an error: this binary has no Vulkan.
func Open(int) (engine.Device, error) { return nil, errNotBuilt }

// Diagnose returns an error: this binary has no Vulkan.
func Diagnose() error { return errNotBuilt }
