package shaders

import (
	"embed"
	"fmt"
	"io/fs"
	"maps"
	"math"
	"reflect"
	"slices"
	"strings"
	"unicode"
)

//go:embed *.wgsl *.comp
var sources embed.FS

// WGSL returns the whole shader of a variant: the declarations generated from
// the kernel (parameter block, step block, bindings, load and store functions),
// the files that it includes and the text of its .wgsl file. A literal takes the
// place of GROUP in @workgroup_size(GROUP), where older compilers want one.
func (k *Kernel) WGSL(v *Variant) (string, error) {
	if v.text != "" {
		return v.text, nil
	}
	var w strings.Builder
	writeConsts(&w, v)
	writeParams(&w, k.params)
	w.WriteString(stepSource)
	for i, name := range v.Files() {
		text, err := SourceFile(name)
		if err != nil {
			return "", fmt.Errorf("kernel %s: %w", k.Name, err)
		}
		w.WriteString(text)
		if i == 0 { // include_vec
			writeBindings(&w, k, v)
		}
	}
	return v.Literal(w.String()), nil
}

// Literal puts a number in place of @workgroup_size(GROUP).
func (v *Variant) Literal(text string) string {
	return strings.ReplaceAll(text, "@workgroup_size(GROUP)", fmt.Sprintf("@workgroup_size(%d)", v.Group))
}

// Bindings 0 and 1 are the parameter and step blocks; storage buffers follow.
const FirstStorageBinding = 2

const stepSource = `struct Step { words: array<vec4<u32>, 16> }
@group(0) @binding(1) var<uniform> step_block: Step;
fn step_u32(i: u32) -> u32 { return step_block.words[i / 4u][i % 4u]; }
fn step_f32(i: u32) -> f32 { return bitcast<f32>(step_u32(i)); }
fn count_at(most: u32, slot: u32, base: u32) -> u32 {
  if (slot == 0u) { return most; }
  let n = step_u32(slot);
  return select(0u, min(n - base, most), n > base);
}
fn group_index(id: vec3<u32>, groups: vec3<u32>) -> u32 { return id.x + id.y * groups.x; }
`

// Files names the files that a variant is made of, in order: "include_exp.wgsl".
func (v *Variant) Files() []string {
	if v.Cooperative != nil {
		return []string{v.Source + ".comp"}
	}
	var names []string
	for _, include := range slices.Concat([]string{"vec"}, v.Include) {
		names = append(names, "include_"+v.wide(include)+".wgsl")
	}
	return append(names, v.Source+".wgsl")
}

// SourceFile returns the text of a file by its name.
func SourceFile(name string) (string, error) {
	text, err := fs.ReadFile(sources, name)
	return string(text), err
}

// WithText returns the kernel with one variant alone, whose whole shader is text:
// tests plant errors so. It runs whatever the parameters are, and only where
// shaders are compiled from WGSL at run time.
func (k *Kernel) WithText(v *Variant, text string) *Kernel {
	altered, planted := *k, *v
	planted.Name = v.Name + "~" + Hash([]byte(text))[:16]
	planted.text, planted.when = text, nil
	altered.Variants = []Variant{planted}
	return &altered
}

func writeConsts(w *strings.Builder, v *Variant) {
	if v.Group != 0 {
		fmt.Fprintf(w, "const GROUP: u32 = %du;\n", v.Group)
	}
	for _, name := range slices.Sorted(maps.Keys(v.Consts)) {
		fmt.Fprintf(w, "const %s: u32 = %du;\n", name, v.Consts[name])
	}
}

// writeParams turns the Go struct into the WGSL block and, for every Count,
// a function of its name that gives the rows to do.
func writeParams(w *strings.Builder, t reflect.Type) {
	w.WriteString("struct Params {\n")
	var counts []string
	for i := range t.NumField() {
		f := t.Field(i)
		name := snake(f.Name)
		switch {
		case f.Type == reflect.TypeFor[Count]():
			fmt.Fprintf(w, "  %s_max: u32, %s_slot: u32, %s_base: u32,\n", name, name, name)
			counts = append(counts, name)
		case f.Type.Kind() == reflect.Uint32:
			fmt.Fprintf(w, "  %s: u32,\n", name)
		case f.Type.Kind() == reflect.Float32:
			fmt.Fprintf(w, "  %s: f32,\n", name)
		}
	}
	w.WriteString("}\n@group(0) @binding(0) var<uniform> p: Params;\n")
	for _, c := range counts {
		fmt.Fprintf(w, "fn %s() -> u32 { return count_at(p.%s_max, p.%s_slot, p.%s_base); }\n", c, c, c, c)
	}
}

// wide is the name of an include file: what ends in "vec" has one text for single
// floats and one for pairs.
func (v *Variant) wide(include string) string {
	switch {
	case !strings.HasSuffix(include, "vec"):
		return include
	case v.Storage.Bindings == 0:
		return include + "1"
	}
	return include + "2"
}

// writeBindings declares the bindings and what their storage takes.
func writeBindings(w *strings.Builder, k *Kernel, v *Variant) {
	w.WriteString(packing[v.Storage.Type])
	for i, b := range k.Bindings {
		writeBinding(w, i, b, v)
	}
}

// writeBinding declares a binding and how it is read and written.
//
//   - load and store take element i.
//   - load4 and store4 take four elements from i on, of which the first n, at least
//     one, are there; the others read 0. Seen as vec4, i is a multiple of 4 and all
//     are there.
//   - loadv and storev take one element where all bindings are of 32 bits, and two
//     from an even i on where one is of 16.
//
// A binding of 16 bits has no store, which would need half a word, and store4 may
// write one element more than n, which Even keeps within the row.
func writeBinding(w *strings.Builder, i int, b Binding, v *Variant) {
	element, pairs := v.Storage.Of(i, b), v.Storage.Bindings != 0
	var view string
	var load, store []string
	switch {
	case element.Half() && slices.Contains(v.Vec4, b.Name):
		view, load, store = "vec2<u32>", []string{loadHalfVec4}, []string{storeHalfVec4}
	case slices.Contains(v.Vec4, b.Name):
		view, load, store = "vec4<f32>", []string{loadVec4}, []string{storeVec4}
	case element.Half():
		view, load, store = "u32", []string{loadHalf, loadHalfFour, loadHalfPair}, []string{storeHalfFour, storeHalfPair}
	case element == F32:
		view, load, store = "f32", []string{loadOne, loadFour}, []string{storeOne, storeFour}
		if pairs {
			load, store = append(load, loadPair), append(store, storePair)
		} else {
			load, store = append(load, loadSingle), append(store, storeSingle)
		}
	default:
		view, load, store = element.String(), []string{loadOne}, []string{storeOne}
	}
	mode := "read_write"
	if b.Access == Read {
		mode = "read"
	}
	fmt.Fprintf(w, "@group(0) @binding(%d) var<storage, %s> %s: array<%s>;\n", FirstStorageBinding+i, mode, b.Name, view)
	text := strings.NewReplacer("NAME", b.Name, "TYPE", b.Type.String())
	if b.Access != Write {
		text.WriteString(w, strings.Join(load, ""))
	}
	if b.Access != Read {
		text.WriteString(w, strings.Join(store, ""))
	}
}

const (
	loadOne  = "fn load_NAME(i: u32) -> TYPE { return NAME[i]; }\n"
	storeOne = "fn store_NAME(i: u32, value: TYPE) { NAME[i] = value; }\n"
	loadFour = `fn load4_NAME(i: u32, n: u32) -> vec4<f32> {
  return vec4<f32>(NAME[i], select(0.0, NAME[i + min(1u, n - 1u)], n > 1u),
    select(0.0, NAME[i + min(2u, n - 1u)], n > 2u), select(0.0, NAME[i + min(3u, n - 1u)], n > 3u));
}
`
	storeFour = `fn store4_NAME(i: u32, n: u32, value: vec4<f32>) {
  NAME[i] = value.x;
  if (n > 1u) { NAME[i + 1u] = value.y; }
  if (n > 2u) { NAME[i + 2u] = value.z; }
  if (n > 3u) { NAME[i + 3u] = value.w; }
}
`
	loadVec4 = `fn load_NAME(i: u32) -> f32 { return NAME[i / 4u][i % 4u]; }
fn load4_NAME(i: u32, n: u32) -> vec4<f32> { return NAME[i / 4u]; }
`
	storeVec4 = "fn store4_NAME(i: u32, n: u32, value: vec4<f32>) { NAME[i / 4u] = value; }\n"

	loadSingle  = "fn loadv_NAME(i: u32) -> f32 { return NAME[i]; }\n"
	storeSingle = "fn storev_NAME(i: u32, value: f32) { NAME[i] = value; }\n"
	loadPair    = "fn loadv_NAME(i: u32) -> vec2<f32> { return vec2<f32>(NAME[i], NAME[i + 1u]); }\n"
	storePair   = `fn storev_NAME(i: u32, value: vec2<f32>) {
  NAME[i] = value.x;
  NAME[i + 1u] = value.y;
}
`

	loadHalf = `fn load_NAME(i: u32) -> f32 {
  let pair = unpack_pair(NAME[i / 2u]);
  return select(pair.x, pair.y, i % 2u == 1u);
}
`
	loadHalfPair  = "fn loadv_NAME(i: u32) -> vec2<f32> { return unpack_pair(NAME[i / 2u]); }\n"
	storeHalfPair = "fn storev_NAME(i: u32, value: vec2<f32>) { NAME[i / 2u] = pack_pair(value); }\n"
	loadHalfFour  = `fn load4_NAME(i: u32, n: u32) -> vec4<f32> {
  let low = unpack_pair(NAME[i / 2u]);
  let high = unpack_pair(NAME[i / 2u + select(0u, 1u, n > 2u)]);
  return vec4<f32>(low.x, select(0.0, low.y, n > 1u), select(0.0, high.x, n > 2u), select(0.0, high.y, n > 3u));
}
`
	storeHalfFour = `fn store4_NAME(i: u32, n: u32, value: vec4<f32>) {
  NAME[i / 2u] = pack_pair(value.xy);
  if (n > 2u) { NAME[i / 2u + 1u] = pack_pair(value.zw); }
}
`
	loadHalfVec4 = `fn load_NAME(i: u32) -> f32 {
  let pair = unpack_pair(NAME[i / 4u][i / 2u % 2u]);
  return select(pair.x, pair.y, i % 2u == 1u);
}
fn load4_NAME(i: u32, n: u32) -> vec4<f32> {
  let words = NAME[i / 4u];
  return vec4<f32>(unpack_pair(words.x), unpack_pair(words.y));
}
`
	storeHalfVec4 = "fn store4_NAME(i: u32, n: u32, value: vec4<f32>) { NAME[i / 4u] = vec2<u32>(pack_pair(value.xy), pack_pair(value.zw)); }\n"
)

// packing turns two floats into a word and back, by integer arithmetic where a
// driver's own conversion may round otherwise than to the nearest, ties to even.
var packing = map[Type]string{
	BF16: `fn unpack_pair(w: u32) -> vec2<f32> { return vec2<f32>(bitcast<f32>(w << 16u), bitcast<f32>(w & 0xffff0000u)); }
fn pack_pair(v: vec2<f32>) -> u32 { return bf16_bits(bitcast<u32>(v.x)) | (bf16_bits(bitcast<u32>(v.y)) << 16u); }
fn bf16_bits(b: u32) -> u32 {
  if ((b & 0x7fffffffu) > 0x7f800000u) { return (b >> 16u) | 0x40u; }
  return (b + 0x7fffu + ((b >> 16u) & 1u)) >> 16u;
}
`,
	F16: `fn unpack_pair(w: u32) -> vec2<f32> { return unpack2x16float(w); }
fn pack_pair(v: vec2<f32>) -> u32 { return f16_bits(bitcast<u32>(v.x)) | (f16_bits(bitcast<u32>(v.y)) << 16u); }
fn f16_bits(b: u32) -> u32 {
  let sign = (b >> 16u) & 0x8000u;
  let a = b & 0x7fffffffu;
  if (a >= 0x47800000u) { return sign | select(0x7c00u, 0x7e00u, a > 0x7f800000u); }
  // Below 2⁻¹⁴ the last place is 2⁻²⁴, as it is of numbers just above 1/2.
  if (a < 0x38800000u) { return sign | (bitcast<u32>(bitcast<f32>(a) + 0.5) - 0x3f000000u); }
  return sign | ((a - 0x38000000u + 0xfffu + ((a >> 13u) & 1u)) >> 13u);
}
`,
}

// PackParams lays the parameters out as the shader's uniform block reads them:
// little-endian 32-bit words, padded to 16 bytes.
func PackParams(params any) []uint32 {
	v := reflect.ValueOf(params)
	var words []uint32
	for i := range v.NumField() {
		switch f := v.Field(i); {
		case f.Type() == reflect.TypeFor[Count]():
			c := f.Interface().(Count)
			words = append(words, c.Max, c.Slot, c.Base)
		case f.Kind() == reflect.Uint32:
			words = append(words, uint32(f.Uint()))
		case f.Kind() == reflect.Float32:
			words = append(words, math.Float32bits(float32(f.Float())))
		}
	}
	for len(words)%4 != 0 {
		words = append(words, 0)
	}
	return words
}

// atStep returns the parameters with every Count replaced by the number of rows
// that it stands for under the given step block.
func atStep(params any, step []uint32) any {
	v := reflect.New(reflect.TypeOf(params)).Elem()
	v.Set(reflect.ValueOf(params))
	for i := range v.NumField() {
		if c, ok := v.Field(i).Interface().(Count); ok {
			v.Field(i).Set(reflect.ValueOf(N(c.At(step))))
		}
	}
	return v.Interface()
}

// snake turns a Go name into a WGSL one: "HeadDim" → "head_dim", "KVHeads" →
// "kv_heads", "LDA" → "lda".
func snake(name string) string {
	var w strings.Builder
	for i, r := range name {
		if i > 0 && unicode.IsUpper(r) {
			lower := func(at int) bool { return at < len(name) && unicode.IsLower(rune(name[at])) }
			if lower(i-1) || lower(i+1) {
				w.WriteByte('_')
			}
		}
		w.WriteRune(unicode.ToLower(r))
	}
	return w.String()
}
