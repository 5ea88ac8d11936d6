package kernelcheck

import (
	"patchwork/engine"
	"patchwork/shaders"
)

// NewBuffer is a buffer for a binding whose elements are of type t.
func NewBuffer(b shaders.Binding, t shaders.Type, bytes int64) *engine.Buffer {
	buffer := engine.NewBuffer(b.Name, bytes)
	if t.Half() {
		buffer.Type = t
	}
	return buffer
}

// Compile compiles a program of one dispatch, divided to bind at most limit bytes of a
// buffer; 0 = no limit.
func Compile(dev engine.Device, k *shaders.Kernel, params any, views []engine.View, limit int64) (engine.Executable, error) {
	program := engine.NewProgram(k.Name)
	program.Dispatch(k, params, views...)
	plan, err := engine.NewPlan(program, dev.Info().Limits.MaxBufferBytes)
	if err != nil {
		return nil, err
	}
	return dev.Compile(plan.Within(limit), nil)
}
