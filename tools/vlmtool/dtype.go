package main

import "patchwork/shaders"

// dtypes are the values of --dtype.
var dtypes = []string{"f32", "f16", "bf16"}

// dtypeFlag adds --dtype for commands that run a model.
func (a *app) dtypeFlag(to *string) {
	a.choice(to, "dtype", "f32", "TYPE: how matrices and activations are stored; arithmetic is f32", dtypes...)
}

// storage is the type that --dtype names.
func storage(dtype string) shaders.Type {
	t, _ := shaders.ParseType(dtype) // --dtype takes no other
	return t
}
