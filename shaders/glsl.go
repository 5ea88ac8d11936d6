package shaders

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
)

// Text returns the whole shader of a variant, in its language.
func (k *Kernel) Text(v *Variant) (string, error) {
	if v.Cooperative != nil {
		return k.GLSL(v)
	}
	return k.WGSL(v)
}

// GLSL returns the whole shader of a variant that is written in GLSL, as WGSL does:
// the declarations generated from the kernel and the text of its .comp file, with loops
// over constants unrolled.
func (k *Kernel) GLSL(v *Variant) (string, error) {
	text, err := k.RolledGLSL(v)
	return unrollGLSL(text, v.Consts), err
}

// RolledGLSL is GLSL with all its loops, which is shorter and does the same.
func (k *Kernel) RolledGLSL(v *Variant) (string, error) {
	var w strings.Builder
	w.WriteString("#version 460\n")
	for _, name := range glslExtensions(v) {
		fmt.Fprintf(&w, "#extension %s : require\n", name)
	}
	for _, name := range slices.Sorted(maps.Keys(v.Consts)) {
		fmt.Fprintf(&w, "const uint %s = %du;\n#define IS_%s %d\n", name, v.Consts[name], name, v.Consts[name])
	}
	writeGLSLParams(&w, k.params)
	w.WriteString(stepGLSL)
	w.WriteString(packingGLSL[v.Storage.Type])
	for i, b := range k.Bindings {
		writeGLSLBinding(&w, i, b, v.Storage.Of(i, b))
	}
	for _, name := range v.Files() {
		text, err := SourceFile(name)
		if err != nil {
			return "", fmt.Errorf("kernel %s: %w", k.Name, err)
		}
		w.WriteString(text)
	}
	return w.String(), nil
}

func glslExtensions(v *Variant) []string {
	names := []string{
		"GL_KHR_cooperative_matrix", "GL_KHR_memory_scope_semantics", "GL_KHR_shader_subgroup_basic", "GL_KHR_shader_subgroup_vote", "GL_KHR_shader_subgroup_arithmetic",
		"GL_EXT_control_flow_attributes", "GL_EXT_shader_16bit_storage", "GL_EXT_shader_explicit_arithmetic_types",
	}
	if v.Storage.Type == BF16 {
		names = append(names, "GL_EXT_bfloat16")
	}
	if v.Cooperative.Scope == ScopeWorkgroup {
		names = append(names, "GL_NV_cooperative_matrix2")
	}
	return names
}

const stepGLSL = `layout(set = 0, binding = 1) uniform Step { uvec4 step_words[16]; };
uint step_u32(uint i) { return step_words[i / 4u][i % 4u]; }
uint count_at(uint limit, uint slot, uint base) {
  if (slot == 0u) { return limit; }
  uint n = step_u32(slot);
  return n > base ? min(n - base, limit) : 0u;
}
uint group_index() { return gl_WorkGroupID.x + gl_WorkGroupID.y * gl_NumWorkGroups.x; }
`

// writeGLSLParams is writeParams for GLSL: the layout of the block is the same.
func writeGLSLParams(w *strings.Builder, t reflect.Type) {
	var members, counts strings.Builder
	for i := range t.NumField() {
		f := t.Field(i)
		name := snake(f.Name)
		switch {
		case f.Type == reflect.TypeFor[Count]():
			fmt.Fprintf(&members, "  uint %s_max, %s_slot, %s_base;\n", name, name, name)
			fmt.Fprintf(&counts, "uint %s() { return count_at(p.%s_max, p.%s_slot, p.%s_base); }\n", name, name, name, name)
		case f.Type.Kind() == reflect.Uint32:
			fmt.Fprintf(&members, "  uint %s;\n", name)
		case f.Type.Kind() == reflect.Float32:
			fmt.Fprintf(&members, "  float %s;\n", name)
		}
	}
	fmt.Fprintf(w, "layout(set = 0, binding = 0) uniform Params {\n%s} p;\nuint count_at(uint limit, uint slot, uint base);\n%s", members.String(), counts.String())
}

// writeGLSLBinding declares a binding: as an array of its elements and, of 16 bits, of
// their bits, of words of two and of quads of eight as well, NAME_bits, NAME_words and
// NAME_quads; the scratch also as quads of four. HALVES_NAME reports whether it is of 16
// bits.
func writeGLSLBinding(w *strings.Builder, i int, b Binding, t Type) {
	mode := ""
	if b.Access == Read {
		mode = "readonly "
	}
	declare := func(suffix, element string) {
		name := b.Name + suffix
		fmt.Fprintf(w, "layout(set = 0, binding = %d) %sbuffer Block_%s { %s %s[]; };\n", FirstStorageBinding+i, mode, name, element, name)
	}
	halves := 0
	switch t {
	case BF16, F16:
		halves = 1
		declare("", "HALF")
		declare("_bits", "uint16_t")
		declare("_words", "uint")
		declare("_quads", "uvec4")
	case F32:
		declare("", "float")
		if b.Scratch {
			declare("_quads", "vec4")
		}
	case I32:
		declare("", "int")
	case U32:
		declare("", "uint")
	}
	fmt.Fprintf(w, "#define HALVES_%s %d\n", b.Name, halves)
}

// packingGLSL converts to 16 bits in GLSL: HALF is the 16-bit type, round_half rounds to
// it, to the nearest and ties to even, pack_pair packs two into a word. pack_near, for
// the operands of a matmul, is faster; how it breaks ties depends on the device.
var packingGLSL = map[Type]string{
	BF16: `#define HALF bfloat16_t
uint half_bits(float x) {
  uint b = floatBitsToUint(x);
  if ((b & 0x7fffffffu) > 0x7f800000u) { return (b >> 16u) | 0x40u; }
  return (b + 0x7fffu + ((b >> 16u) & 1u)) >> 16u;
}
float half_float(uint bits) { return uintBitsToFloat(bits << 16u); }
uint pack_near(vec2 v) {
  uvec2 b = floatBitsToUint(v);
  b = mix(b + 0x8000u, b, isnan(v));
  return (b.x >> 16u) | (b.y & 0xffff0000u);
}
` + pairGLSL,
	F16: `#define HALF float16_t
uint half_bits(float x) {
  uint b = floatBitsToUint(x);
  uint sign = (b >> 16u) & 0x8000u;
  uint a = b & 0x7fffffffu;
  if (a >= 0x47800000u) { return sign | (a > 0x7f800000u ? 0x7e00u : 0x7c00u); }
  if (a < 0x38800000u) { return sign | (floatBitsToUint(uintBitsToFloat(a) + 0.5) - 0x3f000000u); }
  return sign | ((a - 0x38000000u + 0xfffu + ((a >> 13u) & 1u)) >> 13u);
}
float half_float(uint bits) { return unpackHalf2x16(bits).x; }
uint pack_near(vec2 v) { return packHalf2x16(v); }
` + pairGLSL,
}

const pairGLSL = `uint pack_pair(vec2 v) { return half_bits(v.x) | (half_bits(v.y) << 16u); }
vec2 unpack_pair(uint w) { return vec2(half_float(w & 0xffffu), half_float(w >> 16u)); }
float round_half(float x) { return half_float(half_bits(x)); }
`
