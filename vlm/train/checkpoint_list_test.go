package train

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"patchwork/vlm/checkpoint"
)

// TestStoppedTellsCheckpoints: a run that stops never says that there is no checkpoint
// where there is one, whatever its folder is called and whether it can be read.
func TestStoppedTellsCheckpoints(t *testing.T) {
	for _, c := range []struct {
		name, dir string
		make      func(dir string) error
		newest    string
		says      string
	}{
		{"none yet", "run", func(string) error { return nil }, "", "no checkpoint was saved yet"},
		{"some", "run", steps, "step-000012", "the newest checkpoint is"},
		{"in a folder like a pattern", "run[1]*?", steps, "step-000012", "the newest checkpoint is"},
		{"not to be read", "run", func(dir string) error { return os.WriteFile(dir, nil, 0o644) }, "", "which checkpoints there are is not known"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), c.dir)
			if err := c.make(dir); err != nil {
				t.Fatal(err)
			}
			run := &trainer{saver: &saver{dir: dir}}
			err := run.stopped(errors.New("cause"))
			var stopped *StoppedError
			if !errors.As(err, &stopped) || !strings.Contains(err.Error(), c.says) || stopped.Checkpoint != "" && filepath.Base(stopped.Checkpoint) != c.newest || (stopped.Checkpoint == "") != (c.newest == "") {
				t.Errorf("got %v", err)
			}
			if _, err := checkpoint.NewestGood[checkpoint.Header](t.Context(), dir); (err == nil) != (c.says == "no checkpoint was saved yet") {
				t.Errorf("resuming: %v", err) // of empty folders, or of one that is no folder
			}
		})
	}
}

func steps(dir string) error {
	var err error
	for _, name := range []string{"step-000003", "step-000012", "broken-step-000020", ".writing-step-000030", "step-x"} {
		err = errors.Join(err, os.MkdirAll(filepath.Join(dir, name), 0o755))
	}
	return err
}
