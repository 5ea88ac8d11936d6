//go:build !(cgo && !nowebgpu && ((linux && amd64) || darwin || (windows && amd64)))

package webgpu

import (
	"fmt"

	"patchwork/engine"
)

// Built says whether the backend is in this binary.
const Built = false

var errNotBuilt = fmt.Errorf("this binary was built without WebGPU, as for the demo or where there is no C compiler; make builds it with WebGPU: %w", engine.ErrUnsupported)

// List says that there is no WebGPU in this binary.
func List() ([]engine.Info, error) { return nil, errNotBuilt }

// Open says that there is no WebGPU in this binary.
func Open(int) (engine.Device, error) { return nil, errNotBuilt }
