package main

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

// TestFresh fails if the committed assembly differs from the generator's output.
func TestFresh(t *testing.T) {
	for dir := range packages {
		files, err := generate(dir)
		if err != nil {
			t.Fatal(err)
		}
		for name, want := range files {
			got, err := os.ReadFile(filepath.Join("../..", dir, name))
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got, want) {
				t.Errorf("%s is stale: go run ./tools/simdgen %s", name, dir)
			}
		}
	}
}
