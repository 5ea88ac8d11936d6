package gguf_test

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/x448/float16"

	"patchwork/internal/gguftest"
	"patchwork/internal/require"
	"patchwork/nn/gguf"
)

func parse(data []byte) (*gguf.File, error) {
	return gguf.Parse("x.gguf", bytes.NewReader(data), int64(len(data)))
}

// types are those that can be read.
var types = []gguf.Type{
	gguf.F32, gguf.F16, gguf.BF16, gguf.Q8_0, gguf.Q4_0, gguf.Q4_1, gguf.Q5_0, gguf.Q5_1, gguf.Q4_K, gguf.Q5_K, gguf.Q6_K,
}

// element is the reference: one element of a block, in float64, from the structures of
// ggml-common.h.
func element(kind gguf.Type, block []byte, i int) float64 {
	f16 := func(at int) float64 {
		return float64(float16.Frombits(binary.LittleEndian.Uint16(block[at:])).Float32())
	}
	nibble := func(b byte, upper bool) int {
		if upper {
			return int(b) / 16
		}
		return int(b) % 16
	}
	switch kind {
	case gguf.F32:
		return float64(math.Float32frombits(binary.LittleEndian.Uint32(block)))
	case gguf.F16:
		return f16(0)
	case gguf.BF16:
		return float64(math.Float32frombits(uint32(binary.LittleEndian.Uint16(block)) * 65536))
	case gguf.Q8_0:
		return f16(0) * float64(int8(block[2+i]))
	case gguf.Q4_0:
		return f16(0) * float64(nibble(block[2+i%16], i >= 16)-8)
	case gguf.Q4_1:
		return f16(0)*float64(nibble(block[4+i%16], i >= 16)) + f16(2)
	case gguf.Q5_0, gguf.Q5_1:
		at, offset, low := 2, 16.0, 0.0
		if kind == gguf.Q5_1 {
			at, offset, low = 4, 0, f16(2)
		}
		fifth := int(block[at+i/8]) >> (i % 8) % 2
		return f16(0)*(float64(nibble(block[at+4+i%16], i >= 16)+16*fifth)-offset) + low
	case gguf.Q4_K, gguf.Q5_K:
		group := i / 32
		// 6-bit numbers: eight scales, then eight minima, as get_scale_min_k4 has them.
		var six [16]int
		for j := range 4 {
			six[j], six[8+j] = int(block[4+j])%64, int(block[8+j])%64
			six[4+j] = int(block[12+j])%16 + int(block[4+j])/64*16
			six[12+j] = int(block[12+j])/16 + int(block[8+j])/64*16
		}
		low, fifth := 16, 0
		if kind == gguf.Q5_K {
			low, fifth = 48, int(block[16+i%32])>>group%2
		}
		q := nibble(block[low+32*(group/2)+i%32], group%2 == 1) + 16*fifth
		return f16(0)*float64(six[group])*float64(q) - f16(2)*float64(six[8+group])
	case gguf.Q6_K:
		part, in := i/128, i%128
		low := nibble(block[64*part+in%64], in >= 64)
		high := int(block[128+32*part+in%32]) >> (2 * (in / 32)) % 4
		return f16(208) * float64(int8(block[192+i/16])) * float64(low+16*high-32)
	}
	panic("no reference of " + kind.String())
}

// TestReference compares every type with the reference, on random blocks, read whole and
// in parts.
func TestReference(t *testing.T) {
	for _, kind := range types {
		t.Run(kind.String(), func(t *testing.T) {
			elements, size := kind.Block()
			rows, cols := 700, 256 // more than one chunk
			data := randomBlocks(kind, rows*cols/elements)
			f, err := parse(gguftest.File(3, nil, []gguftest.Tensor{{Name: "t", Type: kind, Shape: []int{rows, cols}, Data: data}}))
			require.NoError(t, err)
			got := make([]float32, rows*cols)
			require.NoError(t, f.Read("t", 0, got))
			for i, x := range got {
				want := element(kind, data[i/elements*size:][:size], i%elements)
				// Three float32 roundings of terms that are at most 16 times the sum here.
				if d := math.Abs(float64(x) - want); !(d <= 1e-6*math.Abs(want)+1e-6) {
					t.Fatalf("element %d is %v, want %v", i, x, want)
				}
			}
			part := make([]float32, 3*cols)
			require.NoError(t, f.Read("t", 5*cols, part))
			if !slices.Equal(part, got[5*cols:8*cols]) {
				t.Error("rows 5 to 7 differ from those read with the whole tensor")
			}
		})
	}
}

// randomBlocks are blocks with scales of about 0.01.
func randomBlocks(kind gguf.Type, n int) []byte {
	_, size := kind.Block()
	state := uint32(1)
	next := func() byte { state = state*1664525 + 1013904223; return byte(state >> 24) }
	scales := map[gguf.Type][]int{gguf.F16: {0}, gguf.Q8_0: {0}, gguf.Q4_0: {0}, gguf.Q4_1: {0, 2}, gguf.Q5_0: {0}, gguf.Q5_1: {0, 2},
		gguf.Q4_K: {0, 2}, gguf.Q5_K: {0, 2}, gguf.Q6_K: {208}}
	var out []byte
	for range n {
		block := make([]byte, size)
		for i := range block {
			block[i] = next()
		}
		for _, at := range scales[kind] {
			binary.LittleEndian.PutUint16(block[at:], float16.Fromfloat32(float32(int8(next()))/6400).Bits())
		}
		switch kind { // no NaN, no infinity
		case gguf.F32:
			block[3], block[2] = 0x3F, block[2]&0x7F
		case gguf.BF16:
			block[1] = 0x3F
		}
		out = append(out, block...)
	}
	return out
}

// TestAgainstLlamaCpp compares random blocks, bit by bit, with llama.cpp's Python package
// (testdata/make_blocks.py).
func TestAgainstLlamaCpp(t *testing.T) {
	text, err := os.ReadFile("testdata/blocks.json")
	require.NoError(t, err)
	var rows []struct{ Type, Blocks, Floats string }
	require.NoError(t, json.Unmarshal(text, &rows))
	for _, r := range rows {
		kind := types[slices.IndexFunc(types, func(k gguf.Type) bool { return k.String() == r.Type })]
		data, err := hex.DecodeString(r.Blocks)
		require.NoError(t, err)
		want, err := hex.DecodeString(r.Floats)
		require.NoError(t, err)
		f, err := parse(gguftest.File(3, nil, []gguftest.Tensor{{Name: "t", Type: kind, Shape: []int{len(want) / 4}, Data: data}}))
		require.NoError(t, err)
		got := make([]float32, len(want)/4)
		require.NoError(t, f.Read("t", 0, got))
		for i, x := range got {
			if w := math.Float32frombits(binary.LittleEndian.Uint32(want[4*i:])); x != w {
				t.Fatalf("%s: element %d is %v, want %v", r.Type, i, x, w)
			}
		}
	}
}

// TestKnownBlocks reads blocks written by hand.
func TestKnownBlocks(t *testing.T) {
	one, half := []byte{0x00, 0x3C}, []byte{0x00, 0x38} // F16
	q6 := make([]byte, 210)
	copy(q6[208:], one)
	q6[0], q6[128], q6[192] = 0x21, 0x03, 2 // element 0: 2·(1+3·16-32); element 64: low 2, scale 0
	q4k := slices.Concat(one, half, make([]byte, 140))
	q4k[4], q4k[8] = 3, 5     // group 0: scale 3, minimum 5
	q4k[12], q4k[5] = 0x2F, 0 // group 4: scale 15, minimum 2
	q4k[16], q4k[16+64] = 0x07, 0x04
	for _, c := range []struct {
		kind gguf.Type
		data []byte
		want map[int]float32
	}{
		{gguf.Q8_0, slices.Concat(half, []byte{2, 0xFE}, make([]byte, 30)), map[int]float32{0: 1, 1: -1, 31: 0}},
		{gguf.Q4_0, slices.Concat(one, []byte{0xF0}, slices.Repeat([]byte{0x88}, 15)), map[int]float32{0: -8, 16: 7, 1: 0, 31: 0}},
		{gguf.Q4_1, slices.Concat(half, one, []byte{0x21}, make([]byte, 15)), map[int]float32{0: 1.5, 16: 2, 31: 1}},
		{gguf.Q4_K, q4k, map[int]float32{0: 3*7 - 0.5*5, 1: -0.5 * 5, 32: 0, 128: 15*4 - 0.5*2}},
		{gguf.Q6_K, q6, map[int]float32{0: 2 * (1 + 3*16 - 32), 1: 2 * -32, 16: 0, 64: 0}},
	} {
		n, _ := c.kind.Block()
		f, err := parse(gguftest.File(2, nil, []gguftest.Tensor{{Name: "t", Type: c.kind, Shape: []int{n}, Data: c.data}}))
		require.NoError(t, err)
		got := make([]float32, n)
		require.NoError(t, f.Read("t", 0, got))
		for i, want := range c.want {
			if got[i] != want {
				t.Errorf("%s: element %d is %v, want %v", c.kind, i, got[i], want)
			}
		}
	}
}

func TestMetadata(t *testing.T) {
	pairs := gguftest.Pairs(
		"u8", uint8(200), "i8", int8(-3), "u16", uint16(60000), "i16", int16(-300), "u32", uint32(4e9), "i32", int32(-70000),
		"u64", uint64(1<<40), "i64", int64(-1<<40), "f32", float32(0.5), "f64", 1e-300, "yes", true, "text", "a\nb",
		"texts", []string{"", "x"}, "ints", []int32{-1, 2}, "floats", []float32{1, 2}, "none", []uint8{}, "nested", []any{[]uint32{1}, []string{"s"}},
	)
	f, err := parse(gguftest.File(3, pairs, nil))
	require.NoError(t, err)
	for i, p := range pairs {
		if got := f.Metadata.Value(p.Key); !reflect.DeepEqual(got, p.Value) {
			t.Errorf("%s is %v (%T), want %v", p.Key, got, got, p.Value)
		}
		if f.Metadata.Keys()[i] != p.Key {
			t.Errorf("key %d is %q, want %q", i, f.Metadata.Keys()[i], p.Key)
		}
	}
	if n, ok := f.Metadata.Int("i8"); n != -3 || !ok {
		t.Errorf("Int is %d, %v", n, ok)
	}
	if _, ok := f.Metadata.Int("f32"); ok {
		t.Error("a float counts as an integer")
	}
	if _, ok := f.Metadata.Text("absent"); ok {
		t.Error("an absent key has a text")
	}
}

// le32 and le64 are little-endian.
func le32(n uint32) []byte { return binary.LittleEndian.AppendUint32(nil, n) }
func le64(n uint64) []byte { return binary.LittleEndian.AppendUint64(nil, n) }

// badFile is an invalid file and a part of the error message.
type badFile struct {
	name string
	data []byte
	want string
}

// badFiles has a file for every way in which a header can be invalid.
func badFiles() []badFile {
	head := func(tensors, keys uint64) []byte {
		return slices.Concat([]byte("GGUF"), le32(3), le64(tensors), le64(keys))
	}
	name := func(s string) []byte { return slices.Concat(le64(uint64(len(s))), []byte(s)) }
	tensor := func(axes []uint64, kind gguf.Type, offset uint64) []byte {
		b := slices.Concat(name("t"), le32(uint32(len(axes))))
		for _, d := range axes {
			b = append(b, le64(d)...)
		}
		return slices.Concat(b, le32(uint32(kind)), le64(offset))
	}
	room := make([]byte, 256)
	floats := gguftest.Floats("t", []int{8}, make([]float32, 8))
	good := gguftest.File(3, gguftest.Pairs("k", "v"), []gguftest.Tensor{floats})
	nested := any([]uint8{1})
	for range 6 {
		nested = []any{nested}
	}
	return []badFile{
		{"empty", nil, "0 bytes"},
		{"magic", []byte("GGML0000"), "starts with"},
		{"version 1", slices.Concat([]byte("GGUF"), le32(1)), "version 1"},
		{"version 99", slices.Concat([]byte("GGUF"), le32(99)), "version 99"},
		{"big-endian", slices.Concat([]byte("GGUF"), []byte{0, 0, 0, 3}), "big-endian"},
		{"tensors", slices.Concat(head(1<<60, 0), room), "declares 1152921504606846976 tensors"},
		{"keys", slices.Concat(head(0, 1<<40), room), "declares 1099511627776 metadata keys"},
		{"key's length", slices.Concat(head(0, 1), le64(1<<50), room), "declares 1125899906842624 bytes of text"},
		{"array's length", slices.Concat(head(0, 1), name("k"), le32(9), le32(8), le64(1<<30), room), "declares 1073741824 elements"},
		{"unknown value", slices.Concat(head(0, 1), name("k"), le32(77), room), "unknown type 77"},
		{"unknown element", slices.Concat(head(0, 1), name("k"), le32(9), le32(77), le64(1), room), "unknown type 77"},
		{"bool", slices.Concat(head(0, 1), name("k"), le32(7), []byte{2}, room), "bool of value 2"},
		{"deep arrays", gguftest.File(3, gguftest.Pairs("k", nested), nil), "nested more than"},
		{"duplicate key", gguftest.File(3, gguftest.Pairs("k", "a", "k", "b"), nil), `key "k" occurs twice`},
		{"alignment", gguftest.File(3, gguftest.Pairs("general.alignment", uint32(12)), nil), "general.alignment is 12"},
		{"no alignment", gguftest.File(3, gguftest.Pairs("general.alignment", uint32(0)), nil), "general.alignment is 0"},
		{"text as alignment", gguftest.File(3, gguftest.Pairs("general.alignment", "x"), nil), "general.alignment is x"},
		{"axes", slices.Concat(head(1, 0), tensor([]uint64{1, 1, 1, 1, 1}, gguf.F32, 0), room), "5 axes"},
		{"long axis", slices.Concat(head(1, 0), tensor([]uint64{1 << 40}, gguf.F32, 0), room), "axis of 1099511627776"},
		{"overflow", slices.Concat(head(1, 0), tensor([]uint64{1 << 30, 1 << 30, 1 << 30}, gguf.F32, 0), room), "axis of 1073741824"},
		{"type", slices.Concat(head(1, 0), tensor([]uint64{1}, 4, 0), room), "unknown type 4"},
		{"part of a block", slices.Concat(head(1, 0), tensor([]uint64{33}, gguf.Q4_0, 0), room), "rows of 33 elements"},
		{"single block", slices.Concat(head(1, 0), tensor(nil, gguf.Q4_0, 0), room), "single element"},
		{"offset", slices.Concat(head(1, 0), tensor([]uint64{1}, gguf.F32, 1<<62), room), "truncated"},
		{"unaligned", slices.Concat(head(1, 0), tensor([]uint64{1}, gguf.F32, 4), room), "not a multiple of the alignment"},
		{"beyond the end", slices.Concat(head(1, 0), tensor([]uint64{1000}, gguf.F32, 0), room), "truncated"},
		{"overlap", slices.Concat(head(2, 0), tensor([]uint64{16}, gguf.F32, 0), bytes.Replace(tensor([]uint64{1}, gguf.F32, 32), []byte("t"), []byte("u"), 1), room), `"t" and "u" overlap`},
		{"duplicate tensor", slices.Concat(head(2, 0), tensor([]uint64{1}, gguf.F32, 0), tensor([]uint64{1}, gguf.F32, 32), room), `"t" occurs twice`},
		{"truncated in the metadata", good[:30], "declares"},
		{"truncated in the tensors", good[:70], "truncated"},
		{"truncated in the data", good[:len(good)-16], "truncated"},
	}
}

// TestBadFiles: every error is one line that names the mistake.
func TestBadFiles(t *testing.T) {
	for _, c := range badFiles() {
		t.Run(c.name, func(t *testing.T) {
			_, err := parse(c.data)
			var format *gguf.FormatError
			var unsupported *gguf.UnsupportedError
			if !errors.As(err, &format) && !errors.As(err, &unsupported) {
				t.Fatalf("got %v (%T)", err, err)
			}
			if !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") || !strings.HasPrefix(err.Error(), "x.gguf: ") {
				t.Errorf("got %q, want %q in it", err, c.want)
			}
		})
	}
}

// TestUnsupportedType: a file with a type that cannot be read can be opened, and reading
// the tensor fails.
func TestUnsupportedType(t *testing.T) {
	f, err := parse(gguftest.File(3, nil, []gguftest.Tensor{{Name: "t", Type: 11, Shape: []int{256}, Data: make([]byte, 110)}}))
	require.NoError(t, err)
	var unsupported *gguf.UnsupportedError
	if err := f.Read("t", 0, make([]float32, 256)); !errors.As(err, &unsupported) || !strings.Contains(err.Error(), "Q3_K") {
		t.Errorf("got %v", err)
	}
}

func TestReadErrors(t *testing.T) {
	f, err := parse(gguftest.File(3, nil, []gguftest.Tensor{{Name: "t", Type: gguf.Q4_0, Shape: []int{2, 32}, Data: make([]byte, 36)}}))
	require.NoError(t, err)
	for _, c := range []struct {
		name    string
		from, n int
	}{{"u", 0, 32}, {"t", 1, 32}, {"t", 0, 31}, {"t", 32, 64}, {"t", -32, 32}} {
		if err := f.Read(c.name, c.from, make([]float32, c.n)); err == nil {
			t.Errorf("elements %d to %d of %q were read", c.from, c.from+c.n, c.name)
		}
	}
}

func TestOpen(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.gguf")
	require.NoError(t, os.WriteFile(path, gguftest.File(3, nil, []gguftest.Tensor{gguftest.Floats("t", []int{1, 2}, []float32{1, 2})}), 0o644))
	f, err := gguf.Open(path)
	require.NoError(t, err)
	defer f.Close()
	got := make([]float32, 2)
	require.NoError(t, f.Read("t", 0, got))
	if !slices.Equal(got, []float32{1, 2}) || !slices.Equal(f.Tensors[0].Shape, []int{1, 2}) {
		t.Errorf("got %v, shape %v", got, f.Tensors[0].Shape)
	}
	if _, err := gguf.Open(filepath.Dir(path)); err == nil {
		t.Error("a folder was opened")
	}
	if _, err := gguf.Open(path + "x"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v", err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add(gguftest.File(3, gguftest.Pairs("general.alignment", uint32(32), "a", []string{"x", ""}, "n", []any{[]uint32{1}}),
		[]gguftest.Tensor{gguftest.Floats("t", []int{2, 2}, []float32{1, 2, 3, 4}), {Name: "q", Type: gguf.Q6_K, Shape: []int{256}, Data: make([]byte, 210)}}))
	f.Add(gguftest.File(2, nil, []gguftest.Tensor{{Name: "s", Type: gguf.F16, Data: []byte{0, 0x3C}}, {Name: "e", Type: gguf.Q4_K, Shape: []int{0}}}))
	for _, bad := range badFiles() {
		f.Add(bad.data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		g, err := parse(data)
		if err != nil {
			return
		}
		for _, x := range g.Tensors {
			if x.Bytes() > int64(len(data)) || x.Size() > 8*len(data) {
				t.Fatalf("tensor %q of %d elements and %d bytes in a file of %d", x.Name, x.Size(), x.Bytes(), len(data))
			}
			if x.Type.Readable() {
				require.NoError(t, g.Read(x.Name, 0, make([]float32, x.Size())))
			}
		}
	})
}

func BenchmarkRead(b *testing.B) {
	for _, kind := range types {
		b.Run(kind.String(), func(b *testing.B) {
			elements, _ := kind.Block()
			const n = 1 << 22
			f, err := parse(gguftest.File(3, nil, []gguftest.Tensor{{Name: "t", Type: kind, Shape: []int{n}, Data: randomBlocks(kind, n/elements)}}))
			require.NoError(b, err)
			dst := make([]float32, n)
			b.SetBytes(4 * n)
			for b.Loop() {
				require.NoError(b, f.Read("t", 0, dst))
			}
		})
	}
}
