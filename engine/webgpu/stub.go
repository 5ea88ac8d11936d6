//go:build !(cgo && !nowebgpu && ((linux && amd64) || darwin || (windows && amd64)))

package webgpu

import "patchwork/engine"

// Built reports whether the backend is in this binary.
const Built = false

// errNotBuilt is engine.ErrUnsupported with the way out.
var errNotBuilt error = notBuilt{}

type notBuilt struct{}

func (notBuilt) Error() string {
	return "this vlmtool was built without WebGPU (with the build tag nowebgpu, or without a C compiler); make build on a machine with a C compiler builds one that has it"
}

func (notBuilt) Unwrap() error { return engine.ErrUnsupported }

// List returns an error: this binary has no WebGPU.
func List() ([]engine.Info, error) { return nil, errNotBuilt }

// Open returns an error: this binary has no WebGPU.
func Open(int) (engine.Device, error) { return nil, errNotBuilt }
