//go:build unix

package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"patchwork/internal/require"

	"golang.org/x/sys/unix"
)

// traps are files on which a careless reader blocks or reads forever.
var traps = []struct {
	name, message string
	small         bool // not in place of weights, which may have any size
	make          func(file string) error
}{
	{"a pipe", "is a named pipe", false, func(file string) error { return unix.Mkfifo(file, 0o644) }},
	{"a device", "is a device", false, func(file string) error { return os.Symlink("/dev/zero", file) }},
	{"a folder", "is a folder", false, func(file string) error { return os.Mkdir(file, 0o755) }},
	{"a giant", "more than", true, func(file string) error {
		f, err := os.Create(file)
		if err != nil {
			return err
		}
		defer f.Close()
		return f.Truncate(1 << 36) // sparse
	}},
}

// copied is a folder of links to the files of another.
func copied(t *testing.T, dir string) string {
	t.Helper()
	out := t.TempDir()
	require.NoError(t, filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		inside, err := filepath.Rel(dir, path)
		to := filepath.Join(out, inside)
		switch {
		case err != nil:
			return err
		case d.IsDir():
			return os.MkdirAll(to, 0o755)
		case d.Name() == "metrics.jsonl" || d.Name() == lockFile:
			return nil
		}
		return os.Symlink(path, to)
	}))
	return out
}

const lockFile = ".lock"

// TestSmallFiles replaces every file of a flag, a model's folder or a run's folder with a
// trap: each is an error of one line.
func TestSmallFiles(t *testing.T) {
	model, file := smallRun(t)
	model, err := filepath.Abs(model)
	require.NoError(t, err)
	file, err = filepath.Abs(file)
	require.NoError(t, err)
	checkpoints, err := filepath.Glob(filepath.Join(model, "checkpoints", "step-*"))
	require.NoError(t, err)
	if len(checkpoints) == 0 {
		t.Fatal("the run has no checkpoint")
	}
	newest, err := filepath.Rel(model, checkpoints[len(checkpoints)-1])
	require.NoError(t, err)
	ask := []string{"infer", "--model", "DIR", "--prompt", "a", "--device", "cpu"}
	resume := []string{"train", "--data", file, "--out", "DIR", "--resume", "--device", "cpu", "--quiet"}
	for _, c := range []struct {
		name string // of the file in the folder; "" = the flag names the trap
		args []string
		big  bool // weights
	}{
		{"config.json", ask, false},
		{"tokenizer.json", ask, false},
		{"tokenizer_config.json", ask, false},
		{"chat_template.jinja", ask, false},
		{"generation_config.json", ask, false},
		{"special_tokens_map.json", ask, false},
		{"model.safetensors", ask, true},
		{"model.safetensors.index.json", ask, false},
		{"run.json", resume, false},
		{"", []string{"infer", "--model", "TRAP", "--prompt", "a", "--device", "cpu"}, true},
		{"", []string{"infer", "--model", model, "--prompt", "a", "--image", "TRAP", "--device", "cpu"}, false},
		{"", []string{"eval", "--model", model, "--data", file, "--choices", "TRAP", "--device", "cpu"}, false},
		{"", []string{"eval", "--model", model, "--text", "TRAP", "--device", "cpu"}, false},
		{"", []string{"inspect", model, "--render", "TRAP"}, false},
		{"", []string{"inspect", model, "--figures", "figures", "--image", "TRAP"}, false},
		{"", []string{"train", "--config", "TRAP", "--data", file, "--out", "run", "--device", "cpu"}, false},
		{"", []string{"train", "--dry-run", "--report", "TRAP"}, false},
		{"", []string{"train", "--decoder", "TRAP", "--data", file, "--out", "run", "--device", "cpu"}, true},
		{"", []string{"inspect", "TRAP"}, true},
		{"", []string{"bench", "kernels", "--compare", "TRAP", "--device", "cpu", "--threads", "1"}, false},
		{newest + "/trainer.json", resume, false},
		{newest + "/SHA256SUMS", []string{"inspect", "DIR/" + newest}, false},
	} {
		for _, trap := range traps {
			if trap.small && c.big || trap.name == "a folder" && c.name == "" {
				continue
			}
			t.Run(c.name+strings.Join(c.args[:2], " ")+"/"+trap.name, func(t *testing.T) {
				t.Chdir(t.TempDir())
				at, dir := "trap.png", ""
				if c.name != "" {
					dir = copied(t, model)
					at = filepath.Join(dir, c.name)
					if c.name == "run.json" || c.name == "model.safetensors.index.json" || strings.HasSuffix(c.name, "trainer.json") {
						require.NoError(t, os.Remove(filepath.Join(dir, "model.safetensors"))) // as in an unfinished run
					}
					if err := os.Remove(at); err != nil && !os.IsNotExist(err) {
						t.Fatal(err)
					}
				}
				require.NoError(t, trap.make(at))
				args := make([]string, len(c.args))
				for i, a := range c.args {
					args[i] = strings.ReplaceAll(strings.ReplaceAll(a, "TRAP", at), "DIR", dir)
				}
				ended := make(chan outcome, 1)
				go func() { ended <- vlmtool(args...) }()
				select {
				case got := <-ended:
					line := got.stderr
					if got.code == 0 || !strings.Contains(line, trap.message) || !strings.Contains(line, filepath.Base(at)) || strings.Count(line, "\n") > 2 {
						t.Errorf("%v: %+v, want %q", args, got, trap.message)
					}
				case <-time.After(20 * time.Second):
					t.Fatalf("%v: did not end", args)
				}
			})
		}
	}
}

// TestChatTraps: a file that is not an image is an error in a conversation, which continues.
func TestChatTraps(t *testing.T) {
	model, _ := smallRun(t)
	t.Chdir(t.TempDir())
	for _, trap := range traps {
		require.NoError(t, trap.make("trap"))
		asInput(t, "/image trap\n/quit\n", false)
		if got := vlmtool("infer", "--model", model, "--chat", "--device", "cpu"); got.code != 0 || !strings.Contains(got.stderr, trap.message) {
			t.Errorf("%s: %+v", trap.name, got)
		}
		require.NoError(t, os.RemoveAll("trap"))
	}
}
