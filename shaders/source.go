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

//go:embed *.wgsl
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
	for i, b := range k.Bindings {
		writeBinding(&w, i, b, slices.Contains(v.Vec4, b.Name))
	}
	for _, name := range v.Files() {
		text, err := SourceFile(name)
		if err != nil {
			return "", fmt.Errorf("kernel %s: %w", k.Name, err)
		}
		w.WriteString(text)
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
	var names []string
	for _, include := range v.Include {
		names = append(names, "include_"+include+".wgsl")
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

// writeBinding declares a binding and how it is read and written. load4 and
// store4 take four elements from i on, of which the first n, at least one, are
// there; the others read 0. Seen as vec4, i is a multiple of 4 and all are there.
func writeBinding(w *strings.Builder, i int, b Binding, vec4 bool) {
	element := [...]string{"f32", "i32", "u32"}[b.Type]
	view, load, store := element, loadOne, storeOne
	if b.Type == F32 {
		load, store = loadOne+loadFour, storeOne+storeFour
	}
	if vec4 {
		view, load, store = "vec4<f32>", loadVec4, storeVec4
	}
	mode := "read_write"
	if b.Access == Read {
		mode = "read"
	}
	fmt.Fprintf(w, "@group(0) @binding(%d) var<storage, %s> %s: array<%s>;\n", FirstStorageBinding+i, mode, b.Name, view)
	text := strings.NewReplacer("NAME", b.Name, "TYPE", element)
	if b.Access != Write {
		text.WriteString(w, load)
	}
	if b.Access != Read {
		text.WriteString(w, store)
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
)

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
