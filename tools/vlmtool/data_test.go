package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"patchwork/vlm/bombs"
	"patchwork/vlm/importer"
)

// TestDataImport goes from a folder of pictures and captions to a model.
func TestDataImport(t *testing.T) {
	dir := t.TempDir()
	pictures, out, model := filepath.Join(dir, "pictures"), filepath.Join(dir, "data"), filepath.Join(dir, "run")
	must(t, os.Mkdir(pictures, 0o755))
	for i := range 20 {
		name := filepath.Join(pictures, fmt.Sprintf("%02d", i))
		must(t, os.WriteFile(name+".png", bombs.PNG(32, 32, 8, 0, 0, 32*33), 0o644))
		must(t, os.WriteFile(name+".txt", []byte("a black square"), 0o644))
	}
	must(t, os.WriteFile(filepath.Join(pictures, "x\x1b[2J.png"), []byte("no picture"), 0o644))
	must(t, os.WriteFile(filepath.Join(pictures, "x\x1b[2J.txt"), []byte("none"), 0o644))
	got := vlmtool("data", "import", pictures, "--out", out, "--test-fraction", "0.1", "--prompt", "what is it?", "--json")
	var r importer.Result
	if err := json.Unmarshal([]byte(got.stdout), &r); err != nil || got.code != 0 || r.Rows != 18 || r.TestRows != 2 || r.Skipped != 1 || r.Reasons["cannot be decoded"] != 1 {
		t.Fatalf("%+v, %v", got, err)
	}
	if !strings.Contains(got.stderr, `x\x1b[2J.png`) || strings.Contains(got.stderr, "\x1b") {
		t.Errorf("stderr %q", got.stderr)
	}
	train := filepath.Join(out, "train-*.parquet")
	if got := vlmtool("inspect", train, "--rows"); got.code != 0 || !strings.Contains(got.stdout, "18 of 18 rows can be used") {
		t.Errorf("%+v", got)
	}
	if got := vlmtool("train", "--data", train, "--out", model, "--device", "cpu", "--steps", "3", "--seq-len", "160", "--pool-size", "8", "--quiet"); got.code != 0 {
		t.Errorf("%+v", got)
	}
	if got := vlmtool("eval", "--model", model, "--data", filepath.Join(out, "test-*.parquet"), "--device", "cpu"); got.code != 0 || !strings.Contains(got.stdout, "2 turns about 2 samples") {
		t.Errorf("%+v", got)
	}
}
