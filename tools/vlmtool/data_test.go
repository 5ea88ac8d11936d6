package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"patchwork/internal/bombs"
	"patchwork/internal/require"
	"patchwork/tools/vlmtool/internal/cli"
	"patchwork/vlm/data"
	"patchwork/vlm/importer"
)

// TestDataImport imports images and captions and trains on them.
func TestDataImport(t *testing.T) {
	dir := t.TempDir()
	images, out, model := filepath.Join(dir, "images"), filepath.Join(dir, "data"), filepath.Join(dir, "run")
	require.NoError(t, os.Mkdir(images, 0o755))
	for i := range 20 {
		name := filepath.Join(images, fmt.Sprintf("%02d", i))
		require.NoError(t, os.WriteFile(name+".png", bombs.PNG(32, 32, 8, 0, 0, 32*33), 0o644))
		require.NoError(t, os.WriteFile(name+".txt", []byte("a black square"), 0o644))
	}
	require.NoError(t, os.WriteFile(filepath.Join(images, "x\x1b[2J.png"), []byte("not an image"), 0o644))
	require.NoError(t, os.WriteFile(filepath.Join(images, "x\x1b[2J.txt"), []byte("none"), 0o644))
	got := vlmtool("data", "import", images, "--out", out, "--test-fraction", "0.1", "--prompt", "what is it?", "--json")
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
		require.NoError(t, os.Symlink(file, name))
	}
	for _, c := range []struct {
		paths   []string
		samples int
	}{
		{[]string{"cats,dogs.parquet"}, 20},
		{[]string{"more.parquet,cats,dogs.parquet"}, 0}, // ambiguous: the comma separates them
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
			got.clear(t, cli.ExitUsage, "cats: no such file")
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
	vlmtool("eval", "--model", model, "--data", "", "--device", "cpu").clear(t, cli.ExitUsage, "--data is missing")
}

// TestTextOnly: data without images are trained on and scored, and warned of on
// stderr.
func TestTextOnly(t *testing.T) {
	model, _ := smallRun(t)
	file := filepath.Join(t.TempDir(), "text.parquet")
	w, err := data.Create(file)
	require.NoError(t, err)
	for range 4 {
		require.NoError(t, w.Write(data.Row{Turns: []data.Turn{{User: "what color is the shape?", Assistant: "red"}}}))
	}
	require.NoError(t, w.Close())
	for _, args := range [][]string{
		{"train", "--data", file, "--out", filepath.Join(t.TempDir(), "run"), "--device", "cpu", "--steps", "1", "--seq-len", "160", "--holdout", "0", "--json"},
		{"eval", "--model", model, "--data", file, "--device", "cpu", "--json"},
	} {
		got := vlmtool(args...)
		if got.code != 0 || strings.Count(got.stderr, "no row of the data has") != 1 || strings.Contains(got.stdout, "no row") {
			t.Errorf("%s: %+v", args[0], got)
		}
	}
}

// TestImportFlags checks --caption-lines and --follow-links.
func TestImportFlags(t *testing.T) {
	dir, elsewhere := t.TempDir(), t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "a.png"), bombs.PNG(32, 32, 8, 0, 0, 32*33), 0o644))
	require.NoError(t, os.WriteFile(filepath.Join(elsewhere, "caption"), []byte("a square\n"+strings.Repeat("de=ein Quadrat\n", 100)), 0o644))
	require.NoError(t, os.Symlink(filepath.Join(elsewhere, "caption"), filepath.Join(dir, "a.txt")))
	for _, c := range []struct {
		flags   []string
		code    int
		answer  string // or
		message string
	}{
		{nil, 1, "", "--follow-links"},
		{[]string{"--follow-links", "--caption-lines", "1"}, 0, "a square", ""},
		{[]string{"--follow-links"}, 0, "a square\nde=", "1 captions have more than 1000 characters"},
	} {
		out := filepath.Join(t.TempDir(), "out")
		got := vlmtool(append([]string{"data", "import", dir, "--out", out}, c.flags...)...)
		if got.code != c.code || !strings.Contains(got.stderr, c.message) || c.message == "" && got.stderr != "" {
			t.Errorf("%v: %+v, want %d, %q", c.flags, got, c.code, c.message)
		}
		if c.answer == "" {
			continue
		}
		set, err := data.Open(t.Context(), data.Local(filepath.Join(out, "train-00000-of-00001.parquet")))
		require.NoError(t, err)
		row, err := set.Row(0)
		require.NoError(t, err)
		if !strings.HasPrefix(row.Turns[0].Assistant, c.answer) {
			t.Errorf("%v: %q", c.flags, row.Turns[0].Assistant)
		}
	}
}
