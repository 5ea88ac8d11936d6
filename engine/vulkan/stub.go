//go:build !(cgo && ((linux && (amd64 || arm64)) || (windows && amd64)))

package vulkan

import (
	"fmt"

	"patchwork/engine"
	"patchwork/shaders"
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

// Compiler is not in this binary, which has no Vulkan.
type Compiler struct{}

// OpenCompiler returns an error: this binary has no Vulkan.
func OpenCompiler(int) (*Compiler, error) { return nil, errNotBuilt }

// Info describes no device.
func (*Compiler) Info() engine.Info { return engine.Info{} }

// SetClass does nothing.
func (*Compiler) SetClass(shaders.Class) {}

// SetSubgroupSize returns an error: this binary has no Vulkan.
func (*Compiler) SetSubgroupSize(int) error { return errNotBuilt }

// Compile returns an error: this binary has no Vulkan.
func (*Compiler) Compile(*shaders.Kernel, *shaders.Variant, any, bool) ([]Compiled, error) {
	return nil, errNotBuilt
}

// Time returns an error: this binary has no Vulkan.
func (*Compiler) Time([]engine.Dispatch, []byte) (CompileTime, error) {
	return CompileTime{}, errNotBuilt
}

// Close does nothing.
func (*Compiler) Close() error { return nil }
