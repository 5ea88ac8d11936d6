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
	var w strings.Builder
	writeConsts(&w, v)
	writeParams(&w, k.params)
	w.WriteString(stepSource)
	for i, b := range k.Bindings {
		writeBinding(&w, i, b, slices.Contains(v.Vec4, b.Name))
	}
	for _, include := range k.Include {
		if err := writeFile(&w, "include_"+include); err != nil {
			return "", fmt.Errorf("kernel %s: %w", k.Name, err)
		}
	}
	if err := writeFile(&w, v.Source); err != nil {
		return "", fmt.Errorf("kernel %s: %w", k.Name, err)
	}
	return strings.ReplaceAll(w.String(), "@workgroup_size(GROUP)", fmt.Sprintf("@workgroup_size(%d)", v.Group)), nil
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

func writeFile(w *strings.Builder, name string) error {
	text, err := fs.ReadFile(sources, name+".wgsl")
	w.Write(text)
	return err
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

func writeBinding(w *strings.Builder, i int, b Binding, vec4 bool) {
	element := [...]string{"f32", "i32", "u32"}[b.Type]
	suffix := ""
	if vec4 {
		element, suffix = "vec4<"+element+">", "4"
	}
	mode := "read_write"
	if b.Access == Read {
		mode = "read"
	}
	fmt.Fprintf(w, "@group(0) @binding(%d) var<storage, %s> %s: array<%s>;\n", FirstStorageBinding+i, mode, b.Name, element)
	if b.Access != Write {
		fmt.Fprintf(w, "fn load%s_%s(i: u32) -> %s { return %s[i]; }\n", suffix, b.Name, element, b.Name)
	}
	if b.Access != Read {
		fmt.Fprintf(w, "fn store%s_%s(i: u32, value: %s) { %s[i] = value; }\n", suffix, b.Name, element, b.Name)
	}
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

// snake turns a Go name into a WGSL one: "HeadDim" → "head_dim", "M" → "m".
func snake(name string) string {
	var w strings.Builder
	for i, r := range name {
		if unicode.IsUpper(r) && i > 0 {
			w.WriteByte('_')
		}
		w.WriteRune(unicode.ToLower(r))
	}
	return w.String()
}
