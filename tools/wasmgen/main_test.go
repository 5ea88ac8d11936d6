package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// TestFresh fails if a committed file differs from the generator's output.
func TestFresh(t *testing.T) {
	for name, want := range generate() {
		got, err := os.ReadFile(filepath.Join("../..", name))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%s is stale: %s", name, command)
		}
	}
}

// TestValid lets node check the types and the stack of every function.
func TestValid(t *testing.T) {
	node, err := exec.LookPath("node")
	if err != nil {
		t.Skip("needs node: ", err)
	}
	m := define(false)
	for name, data := range map[string][]byte{"links": m.Links(), "kernels": m.Kernels()} {
		file := filepath.Join(t.TempDir(), name+".wasm")
		if err := os.WriteFile(file, data, 0o644); err != nil {
			t.Fatal(err)
		}
		out, err := exec.CommandContext(t.Context(), node, "-e", "new WebAssembly.Module(require('fs').readFileSync(process.argv[1]))", file).CombinedOutput()
		if err != nil {
			t.Errorf("%s: %v\n%s", name, err, out)
		}
	}
}
