package main

import (
	"bytes"
	"crypto/sha256"
	"os"
	"path/filepath"
	"testing"

	"patchwork/vlm/data"
)

func TestSameFlagsSameBytes(t *testing.T) {
	a, b, other := t.TempDir(), t.TempDir(), t.TempDir()
	for _, o := range []options{{a, 20, 5, 3}, {b, 20, 5, 3}, {other, 20, 5, 4}} {
		if err := generate(o); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{trainFile, testFile} {
		if !bytes.Equal(read(t, a, name), read(t, b, name)) {
			t.Errorf("%s differs from one run to the next", name)
		}
		if bytes.Equal(read(t, a, name), read(t, other, name)) {
			t.Errorf("%s does not depend on the seed", name)
		}
	}
}

func read(t *testing.T, dir, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestNoTestImageInTrain(t *testing.T) {
	dir := t.TempDir()
	if err := generate(options{dir, 300, 100, 1}); err != nil {
		t.Fatal(err)
	}
	files := map[[sha256.Size]byte]string{}
	for name, want := range map[string]int{trainFile: 300, testFile: 100} {
		set, err := data.Open(t.Context(), data.Local(filepath.Join(dir, name)))
		if err != nil {
			t.Fatal(err)
		}
		if set.Len() != want {
			t.Errorf("%s has %d rows, want %d", name, set.Len(), want)
		}
		for i := range set.Len() {
			row, err := set.Row(i)
			if err != nil {
				t.Fatal(err)
			}
			if v := data.Check(row); v.Status != data.Use || v.Turns < 5 {
				t.Fatalf("%s: row %d: %+v", name, i, v)
			}
			hash := sha256.Sum256(row.Images[0])
			if earlier, seen := files[hash]; seen {
				t.Errorf("an image of %s is also in %s", name, earlier)
			}
			files[hash] = name
		}
	}
}
