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

// WGSL returns the whole shader of a variant: the declarations generated from the kernel
// (parameter block, step block, bindings, load and store functions), the files that it
// includes and the text of its .wgsl file. GROUP in @workgroup_size(GROUP) is replaced by
// a literal, which older compilers require.
func (k *Kernel) WGSL(v *Variant) (string, error) {
	if v.text != "" {
		return v.text, nil
	}
	var w strings.Builder
	writeConsts(&w, v)
	writeParams(&w, k.params)
	before := len(v.base())
	for i, name := range v.Files() {
		if i == before {
			writeBindings(&w, k, v)
		}
		text, err := SourceFile(name)
		if err != nil {
			return "", fmt.Errorf("kernel %s: %w", k.Name, err)
		}
		w.WriteString(v.Literal(text))
	}
	return w.String(), nil
}

// Literal is the text of a source file as it is in the variant's shader: with loops
// unrolled, and GROUP in @workgroup_size(GROUP) replaced by the number.
func (v *Variant) Literal(text string) string {
	if v.Unroll > 0 {
		constants := smallConstants(text, v.Unroll)
		for name, value := range v.Consts {
			if value <= uint32(v.Unroll) {
				constants[name] = int(value)
			}
		}
		text = foldIndices(unroll(text, constants))
	}
	return strings.ReplaceAll(text, "@workgroup_size(GROUP)", fmt.Sprintf("@workgroup_size(%d)", v.Group))
}

// Bindings 0 and 1 are the parameter and step blocks; storage buffers follow.
const FirstStorageBinding = 2

// Files are the names of a variant's source files, in order: "include_exp.wgsl". The
// bindings' parts of BindingsFile come after those of base.
func (v *Variant) Files() []string {
	if v.Cooperative != nil {
		var names []string
		for _, include := range v.Include {
			names = append(names, "include_"+include+".comp")
		}
		return append(names, v.Source+".comp")
	}
	var names []string
	for _, include := range slices.Concat(v.base(), v.Include) {
		names = append(names, "include_"+v.textOf(include)+".wgsl")
	}
	return append(names, v.Source+".wgsl")
}

// base are the includes of every kernel of this storage.
func (v *Variant) base() []string {
	if v.Storage.Bindings == 0 {
		return []string{"step", "vec"}
	}
	return []string{"step", "vec", v.Storage.Type.String()}
}

// SourceFile returns the text of a file by its name.
func SourceFile(name string) (string, error) {
	text, err := fs.ReadFile(sources, name)
	return string(text), err
}

// WithText returns the kernel with a single variant whose whole shader is text, for tests
// that plant errors. It runs with any parameters. Where shaders are not compiled from
// WGSL at run time, it needs module.
func (k *Kernel) WithText(v *Variant, text string, module []byte) *Kernel {
	altered, planted := *k, *v
	planted.Name = v.Name + "~" + Hash([]byte(text))[:16]
	planted.text, planted.module, planted.when, planted.byTuning = text, module, nil, nil
	altered.Variants = []Variant{planted}
	return &altered
}

// WithCaps is WithText for a variant that runs as on a device with these capabilities,
// for tests of what no available device supports.
func (k *Kernel) WithCaps(t DeviceCaps, v *Variant, text string, module []byte) *Kernel {
	altered := k.WithText(v, text, module)
	altered.Variants[0].caps = &t
	return altered
}

func writeConsts(w *strings.Builder, v *Variant) {
	if v.Group != 0 {
		fmt.Fprintf(w, "const GROUP: u32 = %du;\n", v.Group)
	}
	for _, name := range slices.Sorted(maps.Keys(v.Consts)) {
		fmt.Fprintf(w, "const %s: u32 = %du;\n", name, v.Consts[name])
	}
}

// writeParams declares the WGSL block of the Go struct and, for every Count, a function
// of its name that returns the number of rows.
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

// pairIncludes are the include files with two texts: NAME1 for single floats and NAME2
// for pairs.
var pairIncludes = []string{"vec", "exp_vec", "matmul_terms", "matmul_tile_vec", "rmsnorm_linear_terms"}

// textOf is the name of an include's text for the variant's storage.
func (v *Variant) textOf(include string) string {
	switch {
	case !slices.Contains(pairIncludes, include):
		return include
	case v.Storage.Bindings == 0:
		return include + "1"
	}
	return include + "2"
}

// writeBindings declares the bindings.
func writeBindings(w *strings.Builder, k *Kernel, v *Variant) {
	for i, b := range k.Bindings {
		writeBinding(w, i, b, v)
	}
}

// writeBinding declares a binding and its load and store functions.
//
//   - load and store take element i.
//   - load4 and store4 take four elements from i on, of which the first n, at least
//     one, are there; the others are 0. As vec4, i is a multiple of 4 and all
//     are there.
//   - load8 takes eight elements of a 16-bit binding from i on, a multiple of 8.
//   - loadv and storev take one element where all bindings are of 32 bits, and two
//     from an even i on where one is of 16.
//
// A binding of 16 bits has no store, which would need half a word, and store4 may
// write one element more than n, which Even keeps within the row.
func writeBinding(w *strings.Builder, i int, b Binding, v *Variant) {
	element := v.Storage.Of(i, b)
	view, forms := v.view(element, b)
	mode := "read_write"
	if b.Access == Read {
		mode = "read"
	}
	fmt.Fprintf(w, "@group(0) @binding(%d) var<storage, %s> %s: array<%s>;\n", FirstStorageBinding+i, mode, b.Name, view)
	for _, verb := range b.Access.verbs() {
		for _, form := range forms {
			w.WriteString(parts[verb+" "+form].For(b))
		}
	}
}

// view is the type of the elements of a binding's array in WGSL, and its forms, each with
// a part for load and one for store.
func (v *Variant) view(element Type, b Binding) (view string, forms []string) {
	pairs := v.Storage.Bindings != 0
	switch {
	case element.Half() && slices.Contains(v.Vec8, b.Name):
		return "vec4<u32>", []string{"half vec8"}
	case element.Half() && slices.Contains(v.Vec4, b.Name):
		return "vec2<u32>", []string{"half vec4"}
	case slices.Contains(v.Vec4, b.Name) || slices.Contains(v.Vec8, b.Name):
		return "vec4<f32>", []string{"vec4"}
	case element.Half():
		return "u32", []string{"half", "half four", "half pair"}
	case element == F32 && pairs:
		return "f32", []string{"one", "four", "pair"}
	case element == F32:
		return "f32", []string{"one", "four", "single"}
	}
	return element.String(), []string{"one"}
}

// ElementType is the type of an element of the array in WGSL of binding i.
func (k *Kernel) ElementType(v *Variant, i int) string {
	b := k.Bindings[i]
	view, _ := v.view(v.Storage.Of(i, b), b)
	return view
}

// ElementBytes is the size in bytes of an element of the array in WGSL of binding i: 4,
// 8 or 16.
func (k *Kernel) ElementBytes(v *Variant, i int) uint64 {
	view := k.ElementType(v, i)
	switch {
	case strings.HasPrefix(view, "vec4"):
		return 16
	case strings.HasPrefix(view, "vec2"):
		return 8
	}
	return 4
}

func (a Access) verbs() []string {
	switch a {
	case Read:
		return []string{"load"}
	case Write:
		return []string{"store"}
	}
	return []string{"load", "store"}
}

// PackParams packs the parameters for the shader's uniform block: little-endian 32-bit
// words, padded to 16 bytes.
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

// atStep returns the parameters with every Count replaced by its number of rows under the
// given step block.
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
