package importer_test

import (
	"context"
	"path/filepath"
	"slices"
	"testing"

	"patchwork/vlm/importer"
)

// TestPictureNames: pictures of every format in a folder are taken, and those that
// are not read are refused by name, not passed by without a word.
func TestPictureNames(t *testing.T) {
	dir := tree(t, map[string]string{
		"a.pgm": "P2 4 1 9 0 1 2 3", "a.txt": "a gray",
		"b.heic": "\x00\x00\x00\x18ftypheic\x00\x00\x00\x00mif1", "b.txt": "a cat",
		"c.JP2": "\x00\x00\x00\x0cjP  \r\n\x87\n", "c.txt": "a dog",
		"d.txt": "no picture",
	})
	var refused []string
	out := filepath.Join(t.TempDir(), "data")
	result, err := importer.Import(context.Background(), importer.Options{
		Paths: []string{dir}, Out: out, Prompts: []string{"Q"}, ShardRows: 10,
		Skipped: func(s importer.Skipped) { refused = append(refused, s.Reason) },
	})
	must(t, err)
	if got, want := rows(t, result.Files...), []string{"4 Q=a gray"}; !slices.Equal(got, want) {
		t.Errorf("rows %q, want %q", got, want)
	}
	want := []string{
		"b.heic: cannot be decoded: a HEIC picture: not supported; convert it to PNG or JPEG",
		"c.JP2: cannot be decoded: a JPEG 2000 picture: not supported; convert it to PNG or JPEG",
	}
	if !slices.Equal(refused, want) {
		t.Errorf("refused %q, want %q", refused, want)
	}
}
