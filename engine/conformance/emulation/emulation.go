// Package emulation rewrites kernels with cooperative matrices into plain GLSL, so that
// what no device at hand can run is held to the references nevertheless: matrices of
// bfloat16, of workgroups, of sizes that only some GPUs have. What it says of a kernel
// is that its tiles, its places and its ends are right if the extensions do what their
// specifications say; it says nothing of a driver.
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

// Caps is a device with one cooperative matrix whose sizes a variant's tile can be
// made of, and no other limits. Subgroup is that of the device which runs it.
func Caps(v *shaders.Variant, m, n, k uint32, subgroup int) shaders.DeviceCaps {
	t := v.Cooperative.Caps(v.Storage.Type)
	t.Subgroup = subgroup
	if v.Cooperative.Scope == shaders.ScopeSubgroup {
		t.Matrices[0].M, t.Matrices[0].N, t.Matrices[0].K = m, n, k
	}
	return t
}

// Kernel is a kernel with the variant alone, written anew and run as on the target.
// compile turns GLSL into a module.
func Kernel(k *shaders.Kernel, v *shaders.Variant, t shaders.DeviceCaps, compile func(glsl string) ([]byte, error)) (*shaders.Kernel, error) {
	text, err := k.GLSL(v)
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

// rewrites take the place of what is not plain GLSL.
var rewrites = []struct {
	from *regexp.Regexp
	to   string
}{
	{regexp.MustCompile(`(?m)^#extension GL_(KHR_cooperative_matrix|NV_cooperative_matrix2|EXT_bfloat16) .*\n`), ""},
	{regexp.MustCompile(`#define HALF \w+`), "#define HALF uint16_t"},
	{regexp.MustCompile(`\[\[unroll\]\] `), ""},
	// A matrix of zeros, which a constructor makes.
	{regexp.MustCompile(`(coopmat<float,[^>]*>|\bSUMS)\(0\.0\)`), "no_sum()"},
	{regexp.MustCompile(`coopmat<[^>]*gl_MatrixUseA>`), "Left"},
	{regexp.MustCompile(`coopmat<[^>]*gl_MatrixUseB>`), "Right"},
	{regexp.MustCompile(`coopmat<[^>]*gl_MatrixUseAccumulator>`), "Sum"},
	{regexp.MustCompile(`([\w]+(?:\[[^\]]*\])?) = coopMatMulAdd\((.*?)\);`), "MULTIPLY_ADD($1, $2)"},
	{regexp.MustCompile(`= (\w+\[[^\]]*\]) \* (\w+);`), "= times($1, $2);"},
	{regexp.MustCompile(`coopMatStore\(([^,]*), scratch, `), "STORE_FLOATS($1, scratch, "},
	{regexp.MustCompile(`tensorLayoutNV<[^>]*>`), "Layout"},
	{regexp.MustCompile(`tensorViewNV<2, false, 1, 0> \w+ = [^;]*;`), ""}, // it turns what it is given to
	{regexp.MustCompile(`\b(create|set|slice)TensorLayout(\w*)NV\(`), "${1}Layout$2("},
	{regexp.MustCompile(`coopMatLoadTensorNV\((.*?\)), turned\);`), "LOAD_TENSOR($1, true)"},
	{regexp.MustCompile(`coopMatLoadTensorNV\((.*?\))\);`), "LOAD_TENSOR($1, false)"},
}

// packing is the end of what the text begins with: the functions for 16 bits.
var packing = regexp.MustCompile(`(?m)^float round_half\(.*\n`)

// rewrite puts arrays and loops in place of cooperative matrices. The sizes of arrays
// in structures cannot be specialisation constants, and so are the target's.
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
