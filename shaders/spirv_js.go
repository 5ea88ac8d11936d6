package shaders

import "errors"

// SPIRV returns an error: browsers take WGSL, and the committed modules are larger than the
// rest of a program for them.
func (k *Kernel) SPIRV(*Variant) ([]byte, error) {
	return nil, errors.New("there is no SPIR-V in a program for browsers")
}
