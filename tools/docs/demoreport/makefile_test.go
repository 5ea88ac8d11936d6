package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestDemoInstall: make demo keeps a bin/vlmtool that make built, and replaces one of an
// earlier demo.
func TestDemoInstall(t *testing.T) {
	if _, err := exec.LookPath("make"); err != nil {
		t.Skip("no make")
	}
	makefile, err := filepath.Abs("../../../Makefile")
	if err != nil {
		t.Fatal(err)
	}
	source := filepath.Join(t.TempDir(), "main.go")
	if err := os.WriteFile(source, []byte("package main\n\nfunc main() {}\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		tags []string // that bin/vlmtool was built with; nil = there is no bin/vlmtool
		kept bool
	}{
		{"none", nil, false},
		{"of make", []string{""}, true},
		{"of an earlier demo", []string{"nowebgpu"}, false},
		{"with other tags", []string{"netgo,osusergo"}, true},
	} {
		dir := t.TempDir()
		run := func(name string, args ...string) {
			t.Helper()
			command := exec.CommandContext(t.Context(), name, args...)
			command.Dir = dir
			if out, err := command.CombinedOutput(); err != nil {
				t.Fatalf("%s: %s: %v\n%s", c.name, name, err, out)
			}
		}
		built := filepath.Join(dir, "bin", "vlmtool")
		for _, tags := range c.tags {
			run("go", "build", "-tags", tags, "-o", built, source)
		}
		demo := filepath.Join(dir, "out", "demo", "vlmtool")
		if err := os.MkdirAll(filepath.Dir(demo), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(demo, []byte("the demo's"), 0o755); err != nil {
			t.Fatal(err)
		}
		run("make", "-f", makefile, "demo-install")
		got, err := os.ReadFile(built)
		if err != nil {
			t.Fatal(err)
		}
		if kept := string(got) != "the demo's"; kept != c.kept {
			t.Errorf("%s: bin/vlmtool kept: %v, want %v", c.name, kept, c.kept)
		}
	}
	plan, err := exec.CommandContext(t.Context(), "make", "-n", "-C", filepath.Dir(makefile), "demo").CombinedOutput()
	if err != nil {
		t.Fatalf("make -n demo: %v\n%s", err, plan)
	}
	if strings.Contains(string(plan), "-o bin/") {
		t.Errorf("make demo replaces the binary that make built:\n%s", plan)
	}
}
