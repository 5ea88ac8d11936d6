package importer_test

import (
	"context"
	"path/filepath"
	"slices"
	"testing"

	"patchwork/internal/require"
	"patchwork/vlm/importer"
)

// Images of every format in a folder are imported. Those of unsupported formats are skipped
// with a reason, not silently.
func TestImageExtensions(t *testing.T) {
	dir := tree(t, map[string]string{
		"a.pgm": "P2 4 1 9 0 1 2 3", "a.txt": "a gray",
		"b.heic": "\x00\x00\x00\x18ftypheic\x00\x00\x00\x00mif1", "b.txt": "a cat",
		"c.JP2": "\x00\x00\x00\x0cjP  \r\n\x87\n", "c.txt": "a dog",
		"d.txt": "no image",
	})
	var skipped []string
	out := filepath.Join(t.TempDir(), "data")
	result, err := importer.Import(context.Background(), importer.Options{
		Paths: []string{dir}, Out: out, Prompts: []string{"Q"}, ShardRows: 10,
		Skipped: func(s importer.Skipped) { skipped = append(skipped, s.Reason) },
	})
	require.NoError(t, err)
	if got, want := rows(t, result.Files...), []string{"4 Q=a gray"}; !slices.Equal(got, want) {
		t.Errorf("rows %q, want %q", got, want)
	}
	want := []string{
		"b.heic: cannot be decoded: a HEIC image: not supported; convert it to PNG or JPEG",
		"c.JP2: cannot be decoded: a JPEG 2000 image: not supported; convert it to PNG or JPEG",
	}
	if !slices.Equal(skipped, want) {
		t.Errorf("skipped %q, want %q", skipped, want)
	}
}
