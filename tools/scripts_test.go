// Package tools_test checks the shell scripts in tools.
package tools_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"
)

// mirror is the address of a package mirror, which scripts leave to apt and debootstrap.
var mirror = regexp.MustCompile(`[a-z]+://[a-z0-9.-]*(debian|ubuntu)\.(org|com|net)`)

// TestScripts: every script is valid shell, and none names a mirror.
func TestScripts(t *testing.T) {
	scripts, err := filepath.Glob("*.sh")
	if err != nil || len(scripts) == 0 {
		t.Fatal("no scripts: ", err)
	}
	ci, _ := filepath.Glob("../.ci/*")
	for _, script := range append(append(scripts, "../Makefile"), ci...) {
		text, err := os.ReadFile(script)
		if err != nil {
			t.Fatal(err)
		}
		if host := mirror.Find(text); host != nil {
			t.Errorf("%s names the mirror %s", script, host)
		}
	}
	for _, script := range scripts {
		if out, err := exec.CommandContext(t.Context(), "sh", "-n", script).CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", script, err, out)
		}
	}
}
