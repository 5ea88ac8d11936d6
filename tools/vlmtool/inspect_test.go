package main

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"patchwork/internal/bombs"
	"patchwork/internal/require"
	"patchwork/vlm/data"
)

// TestInspectByContent: the type of a file is found by its first bytes, since the hub's cache
// names files by their hashes.
func TestInspectByContent(t *testing.T) {
	dir := t.TempDir()
	_, parquet := smallRun(t)
	table, err := os.ReadFile(parquet)
	require.NoError(t, err)
	header := `{"x":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}`
	tensors := append(binary.LittleEndian.AppendUint64(nil, uint64(len(header))), header+"\x00\x00\x00\x00"...)
	gguf := append([]byte("GGUF"), binary.LittleEndian.AppendUint32(nil, 3)...)
	gguf = append(gguf, make([]byte, 16)...) // no tensor, no metadata
	for _, c := range []struct {
		name    string
		content []byte
		code    int
		message string
	}{
		{"1a", gguf, 0, "GGUF version 3, 0 tensors"},
		{"2b", tensors, 0, "F32"},
		{"3c", table, 0, "20 rows"},
		{"4d", bombs.PNG(9, 7, 8, 0, 0, 7*10), 0, "png, 9×7 pixels"},
		{"picture.parquet", bombs.PNG(9, 7, 8, 0, 0, 7*10), 0, "png, 9×7 pixels"},
		{"cut.png", bombs.PNG(9, 7, 8, 0, 0, 7*10)[:40], 1, "cut.png: an image that cannot be decoded"},
		{"words", []byte("these are words"), 1, "not a parquet file"},
		{"words.safetensors", []byte("these are words"), 1, "words.safetensors"},
		{"encrypted", []byte("PARE0123PARE"), 1, "encrypted parquet files"},
	} {
		path := filepath.Join(dir, c.name)
		require.NoError(t, os.WriteFile(path, c.content, 0o644))
		got := vlmtool("inspect", path)
		if got.code != c.code || !strings.Contains(got.stdout+got.stderr, c.message) {
			t.Errorf("%s: %+v, want %d, %q", c.name, got, c.code, c.message)
		}
	}
}

// TestInspectRowsFit: with a recipe, the length of rows is checked too.
func TestInspectRowsFit(t *testing.T) {
	file := filepath.Join(t.TempDir(), "a.parquet")
	w, err := data.Create(file)
	require.NoError(t, err)
	for _, answer := range []string{"red", strings.Repeat("red and ", 300)} {
		require.NoError(t, w.Write(data.Row{Images: [][]byte{bombs.PNG(64, 64, 8, 0, 0, 64*65)}, Turns: []data.Turn{{User: "what?", Assistant: answer}}}))
	}
	require.NoError(t, w.Close())
	model, _ := smallRun(t)
	for _, c := range []struct {
		args    []string
		message string
	}{
		{nil, "2 of 2 rows can be used"},
		{[]string{"--preset", "shapes"}, "no turn fits a row of 704 tokens"},
		{[]string{"--preset", "shapes", "--seq-len", "2000"}, "2 of 2 rows can be used"},
		{[]string{"--model", model}, "no turn fits a row of 160 tokens"},
		{[]string{"--model", model, "--seq-len", "4"}, "0 of 2 rows can be used"},
	} {
		got := vlmtool(append([]string{"inspect", file, "--rows"}, c.args...)...)
		if got.code != 0 || !strings.Contains(got.stdout, c.message) {
			t.Errorf("%v: %+v, want %q", c.args, got, c.message)
		}
	}
}
