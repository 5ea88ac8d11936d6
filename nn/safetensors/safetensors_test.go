package safetensors

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"patchwork/internal/require"
)

// fileOf is a file of a header and data.
func fileOf(header string, data []byte) []byte {
	return slices.Concat(binary.LittleEndian.AppendUint64(nil, uint64(len(header))), []byte(header), data)
}

func save(t testing.TB, dir, name string, data []byte) string {
	t.Helper()
	path := filepath.Join(dir, name)
	require.NoError(t, os.WriteFile(path, data, 0o644))
	return path
}

func floats(values ...float32) func() ([]float32, error) {
	return func() ([]float32, error) { return values, nil }
}

// TestReadFloats: every type gives the same numbers, read whole and in parts.
func TestReadFloats(t *testing.T) {
	want := []float32{0, 1, -2.5, 0.125, 3, -1}
	var f64 []byte
	for _, x := range want {
		f64 = binary.LittleEndian.AppendUint64(f64, math.Float64bits(float64(x)))
	}
	files := map[string][]byte{"F64": fileOf(`{"t":{"dtype":"F64","shape":[2,3],"data_offsets":[0,48]}}`, f64)}
	for _, dtype := range []string{"F32", "F16", "BF16"} {
		entry := Floats("t", []int{2, 3}, floats(want...))
		if dtype != "F32" {
			var err error
			entry, err = HalfFloats("t", dtype, []int{2, 3}, floats(want...))
			require.NoError(t, err)
		}
		var out bytes.Buffer
		require.NoError(t, Write(&out, nil, []Entry{entry}))
		files[dtype] = out.Bytes()
	}
	for dtype, data := range files {
		f, err := Open(save(t, t.TempDir(), "x.safetensors", data))
		require.NoError(t, err)
		got := make([]float32, 6)
		require.NoError(t, f.ReadFloats("t", 0, got))
		part := make([]float32, 2)
		require.NoError(t, f.ReadFloats("t", 3, part))
		if !slices.Equal(got, want) || !slices.Equal(part, want[3:5]) {
			t.Errorf("%s: got %v and %v, want %v", dtype, got, part, want)
		}
		if err := f.ReadFloats("t", 5, part); err == nil {
			t.Errorf("%s: elements beyond the end were read", dtype)
		}
		f.Close()
	}
}

// TestReadFloatsInChunks reads more than one chunk.
func TestReadFloatsInChunks(t *testing.T) {
	want := make([]float32, 3*chunkBytes/4)
	for i := range want {
		want[i] = float32(i % 251)
	}
	entry, err := HalfFloats("t", "BF16", []int{len(want)}, floats(want...))
	require.NoError(t, err)
	var out bytes.Buffer
	require.NoError(t, Write(&out, nil, []Entry{entry}))
	f, err := Open(save(t, t.TempDir(), "x.safetensors", out.Bytes()))
	require.NoError(t, err)
	defer f.Close()
	got := make([]float32, len(want))
	require.NoError(t, f.ReadFloats("t", 0, got))
	if !slices.Equal(got, want) {
		t.Error("the values differ")
	}
}

func TestUnreadableType(t *testing.T) {
	// A file may have tensors of unknown types among others.
	for _, kind := range []string{"I8", "F8_E4M3", "F8_E8M0", "F4", "Q4"} {
		f, err := Open(save(t, t.TempDir(), "x.safetensors", fileOf(`{"t":{"dtype":"`+kind+`","shape":[1],"data_offsets":[0,1]}}`, []byte{1})))
		require.NoError(t, err)
		defer f.Close()
		var refused *TypeError
		for _, n := range []int{0, 1} {
			if err := f.ReadFloats("t", 0, make([]float32, n)); !errors.As(err, &refused) || refused.DType != kind {
				t.Errorf("%s, %d numbers: %v", kind, n, err)
			}
		}
	}
	if _, err := HalfFloats("t", "I8", nil, nil); err == nil {
		t.Error("I8 was written")
	}
}

// badFiles are invalid files by a part of the error message.
func badFiles() map[string][]byte {
	return map[string][]byte{
		"0 bytes":                nil,
		"its header has":         binary.LittleEndian.AppendUint64(nil, 1<<60),
		"not JSON":               fileOf(`{`, nil),
		"__metadata__":           fileOf(`{"__metadata__":3}`, nil),
		`tensor "t": json`:       fileOf(`{"t":3}`, nil),
		"impossible shape [-1]":  fileOf(`{"t":{"dtype":"F32","shape":[-1],"data_offsets":[0,0]}}`, nil),
		"impossible shape [4611": fileOf(`{"t":{"dtype":"F32","shape":[4611686018427387904,4],"data_offsets":[0,0]}}`, nil),
		"needs 4":                fileOf(`{"t":{"dtype":"F32","shape":[1],"data_offsets":[0,8]}}`, make([]byte, 8)),
		"has bytes 8 to 4":       fileOf(`{"t":{"dtype":"F32","shape":[1],"data_offsets":[8,4]}}`, make([]byte, 8)),
		"truncated":              fileOf(`{"t":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}`, make([]byte, 4)),
		"overlap": fileOf(`{"t":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"u":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}`,
			make([]byte, 8)),
	}
}

func TestBadFiles(t *testing.T) {
	for want, data := range badFiles() {
		_, err := Open(save(t, t.TempDir(), "x.safetensors", data))
		var format *FormatError
		if !errors.As(err, &format) || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("got %v, want %q in it", err, want)
		}
	}
}

// shards writes two shards and an index.
func shards(t *testing.T, weightMap map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, entries := range map[string][]Entry{
		"model-00001-of-00002.safetensors": {Floats("a", []int{2}, floats(1, 2)), Floats("b", []int{1}, floats(3))},
		"model-00002-of-00002.safetensors": {Floats("c", []int{1}, floats(4))},
	} {
		var out bytes.Buffer
		require.NoError(t, Write(&out, nil, entries))
		save(t, dir, name, out.Bytes())
	}
	text, err := json.Marshal(map[string]any{"metadata": map[string]int{"total_size": 16}, "weight_map": weightMap})
	require.NoError(t, err)
	save(t, dir, IndexFile, text)
	return dir
}

func TestShards(t *testing.T) {
	const one, two = "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"
	s, err := OpenSet(shards(t, map[string]string{"a": one, "b": one, "c": two}))
	require.NoError(t, err)
	defer s.Close()
	if !slices.Equal(s.Names(), []string{"a", "b", "c"}) || len(s.Files()) != 2 {
		t.Errorf("tensors %v in %v", s.Names(), s.Files())
	}
	got := make([]float32, 1)
	require.NoError(t, s.ReadFloats("c", 0, got))
	if got[0] != 4 {
		t.Errorf("c is %v", got)
	}
	if err := s.ReadFloats("d", 0, got); err == nil {
		t.Error("an absent tensor was read")
	}
	for want, weights := range map[string]map[string]string{
		`"c" is not in ` + one: {"a": one, "b": one, "c": one},
		"not in its weight_":   {"a": one, "c": two},
		"no weight_map":        {},
		"is not a file name":   {"a": "../" + one},
		"no such file":         {"a": "model-00003-of-00002.safetensors"},
	} {
		if _, err := OpenSet(shards(t, weights)); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("got %v, want %q in it", err, want)
		}
	}
}

func FuzzOpen(f *testing.F) {
	for _, data := range badFiles() {
		f.Add(data)
	}
	var out bytes.Buffer
	require.NoError(f, Write(&out, map[string]string{"format": "pt"}, []Entry{Floats("a", []int{2, 2}, floats(1, 2, 3, 4)), Floats("b", []int{0}, floats())}))
	f.Add(out.Bytes())
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := Open(save(t, dir, "x.safetensors", data))
		if err != nil {
			return
		}
		defer s.Close()
		for _, name := range s.Names() {
			x, _ := s.Tensor(name)
			if x.bytes > int64(len(data)) {
				t.Fatalf("tensor %q of %d bytes in a file of %d", name, x.bytes, len(data))
			}
			if x.DType == "F32" || converters[x.DType] != nil {
				require.NoError(t, s.ReadFloats(name, 0, make([]float32, x.Size())))
			}
		}
	})
}
