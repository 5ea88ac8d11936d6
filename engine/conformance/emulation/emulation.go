// Package emulation rewrites kernels with cooperative matrices into plain GLSL, so that
// variants which no available device can run are compared with the references: matrices
// of bfloat16, of workgroups, of sizes that only some GPUs have. It tests a kernel's
// tiles, offsets and bounds, assuming that the extensions conform to their
// specifications; it does not test a driver.
package emulation

import (
	_ "embed"
	"fmt"
	"regexp"
	"strings"

	"patchwork/shaders"
)

var (
	//go:embed matrices.glsl
	matrices string
	//go:embed tensors.glsl
	tensors string
)

// Caps is a device with one cooperative matrix, whose sizes divide a variant's tile, and
// no other limits. subgroup is the subgroup size of the device that runs it.
func Caps(v *shaders.Variant, m, n, k uint32, subgroup int) shaders.DeviceCaps {
	t := v.Cooperative.Caps(v.Storage.Type)
	t.Subgroup = subgroup
	if v.Cooperative.Scope == shaders.ScopeSubgroup {
		t.Matrices[0].M, t.Matrices[0].N, t.Matrices[0].K = m, n, k
	}
	return t
}

// Kernel is a kernel with a single variant, rewritten to run as on a device with caps.
// compile compiles GLSL to a module.
func Kernel(k *shaders.Kernel, v *shaders.Variant, t shaders.DeviceCaps, compile func(glsl string) ([]byte, error)) (*shaders.Kernel, error) {
	text, err := k.RolledGLSL(v)
	if err != nil {
		return nil, err
	}
	text = rewrite(text, v, t)
	module, err := compile(text)
	if err != nil {
		return nil, fmt.Errorf("kernel %s, emulated: %w", k.ID(v), err)
	}
	return k.WithCaps(t, v, text, module), nil
}

// rewrites replace what is not plain GLSL.
var rewrites = []struct {
	from *regexp.Regexp
	to   string
}{
	{regexp.MustCompile(`(?m)^#extension GL_(KHR_cooperative_matrix|NV_cooperative_matrix2|EXT_bfloat16) .*\n`), ""},
	{regexp.MustCompile(`#define HALF \w+`), "#define HALF uint16_t"},
	{regexp.MustCompile(`\[\[unroll\]\] `), ""},
	// A matrix of zeros, by a constructor.
	{regexp.MustCompile(`(coopmat<float,[^>]*>|\bSUMS)\(0\.0\)`), "zero_accumulator()"},
	{regexp.MustCompile(`coopmat<[^>]*gl_MatrixUseA>`), "Left"},
	{regexp.MustCompile(`coopmat<[^>]*gl_MatrixUseB>`), "Right"},
	{regexp.MustCompile(`coopmat<[^>]*gl_MatrixUseAccumulator>`), "Sum"},
	{regexp.MustCompile(`#define LENGTH\(M\) .*`), "#define LENGTH(M) cells(M.v[0])"},
	{regexp.MustCompile(`#define ELEMENT\(M, I\) .*`), "#define ELEMENT(M, I) M.v[I].value"},
	{regexp.MustCompile(`([\w]+(?:\[[^\]]*\])?) = coopMatMulAdd\((.*?)\);`), "MULTIPLY_ADD($1, $2)"},
	{regexp.MustCompile(`= (\w+\[[^\]]*\]) \* (\w+);`), "= times($1, $2);"},
	{regexp.MustCompile(`coopMatStore\(([^,]*), scratch, `), "STORE_FLOATS($1, scratch, "},
	{regexp.MustCompile(`tensorLayoutNV<[^>]*>`), "Layout"},
	{regexp.MustCompile(`tensorViewNV<2, false, 1, 0> \w+ = [^;]*;`), ""}, // a transposed view
	{regexp.MustCompile(`\b(create|set|slice)TensorLayout(\w*)NV\(`), "${1}Layout$2("},
	{regexp.MustCompile(`coopMatLoadTensorNV\((.*?\)), transposed\);`), "LOAD_TENSOR($1, true)"},
	{regexp.MustCompile(`coopMatLoadTensorNV\((.*?\))\);`), "LOAD_TENSOR($1, false)"},
}

// packing is the end of the generated declarations: the functions for 16 bits.
var packing = regexp.MustCompile(`(?m)^float round_half\(.*\n`)

// rewrite replaces cooperative matrices by arrays and loops. The sizes of arrays in
// structures cannot be specialisation constants, so they are the device's.
func rewrite(text string, v *shaders.Variant, t shaders.DeviceCaps) string {
	var w strings.Builder
	define := func(name string, value any) { fmt.Fprintf(&w, "#define %s %v\n", name, value) }
	m := t.Matrices[0]
	lane, members, rest := "gl_SubgroupInvocationID", uint32(t.Subgroup), ""
	if c := v.Cooperative; c.Scope == shaders.ScopeWorkgroup {
		m.M, m.N, m.K = c.Rows, c.Cols, c.Depth
		lane, members, rest = "gl_LocalInvocationIndex", c.Invocations, tensors
	}
	define("M_", fmt.Sprintf("%du", m.M))
	define("N_", fmt.Sprintf("%du", m.N))
	define("K_", fmt.Sprintf("%du", m.K))
	define("LANE", lane)
	define("MEMBERS", fmt.Sprintf("%du", members))
	for _, r := range rewrites {
		text = r.from.ReplaceAllString(text, r.to)
	}
	return packing.ReplaceAllStringFunc(text, func(end string) string { return end + w.String() + matrices + rest })
}
