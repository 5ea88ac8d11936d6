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

// TestDataPaths: --data may be given several times, and a name may have a comma.
func TestDataPaths(t *testing.T) {
	model, file := smallRun(t)
	t.Chdir(t.TempDir())
	for _, name := range []string{"cats,dogs.parquet", "more.parquet"} {
		must(t, os.Symlink(file, name))
	}
	for _, c := range []struct {
		paths   []string
		samples int
	}{
		{[]string{"cats,dogs.parquet"}, 20},
		{[]string{"more.parquet,cats,dogs.parquet"}, 0}, // ambiguous: the comma parts them
		{[]string{"cats,dogs.parquet", "more.parquet"}, 40},
		{[]string{"more.parquet", "*,dogs.parquet"}, 40},
		{[]string{"more.parquet," + file}, 40},
	} {
		args := []string{"eval", "--model", model, "--device", "cpu", "--json"}
		for _, path := range c.paths {
			args = append(args, "--data", path)
		}
		got := vlmtool(args...)
		if c.samples == 0 {
			got.clear(t, exitUsage, "cats: no such file")
			continue
		}
		if want := fmt.Sprintf(`"samples":%d,`, c.samples); got.code != 0 || !strings.Contains(got.stdout, want) {
			t.Errorf("--data %q: %+v, want %s", c.paths, got, want)
		}
	}
	train := []string{"train", "--out", "run", "--device", "cpu", "--steps", "1", "--seq-len", "160", "--quiet", "--json", "--data", "cats,dogs.parquet", "--data", "more.parquet", "--val-data", "cats,dogs.parquet"}
	if got := vlmtool(train...); got.code != 0 {
		t.Errorf("%+v", got)
	}
	if got := vlmtool("inspect", "cats,dogs.parquet"); got.code != 0 {
		t.Errorf("%+v", got)
	}
	vlmtool("eval", "--model", model, "--data", "", "--device", "cpu").clear(t, exitUsage, "--data is missing")
}
