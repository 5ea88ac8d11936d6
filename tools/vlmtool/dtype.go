package main

import "patchwork/shaders"

// dtypeFlag adds --dtype for commands that run a model.
func (a *app) dtypeFlag(to *string) {
	a.flags.StringVar(to, "dtype", "f32", "how matrices and activations are stored: f32, bf16 or f16; arithmetic is f32")
}

// storage is the type that --dtype names.
func storage(dtype string) (shaders.Type, error) {
	t, ok := shaders.ParseType(dtype)
	if !ok {
		return 0, usagef("--dtype is %q, want f32, f16 or bf16", dtype)
	}
	return t, nil
}
