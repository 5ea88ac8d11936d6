package train

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"patchwork/engine/cpu"
	"patchwork/internal/require"
	"patchwork/vlm/data"
	"patchwork/vlm/internal/vlmtest"
)

// stuckFile is a file on a network that does not answer: it opens after a number of times, or never
// if that is negative, and then no more bytes come.
type stuckFile struct {
	data.File
	opens  *int
	opened chan<- bool // is told when the file is stuck
}

func (f stuckFile) Open(ctx context.Context) (data.Reader, error) {
	if *f.opens--; *f.opens >= 0 {
		return f.File.Open(ctx)
	}
	f.opened <- true
	<-ctx.Done()
	return nil, ctx.Err()
}

// TestInterruptedStart: a run that is interrupted while it opens its data ends at once, and leaves
// nothing behind.
func TestInterruptedStart(t *testing.T) {
	for _, opens := range []int{0, 1} { // stuck in the first file, and in the first row
		file := vlmtest.Data(t, 40)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		stuck := make(chan bool, 1)
		out := filepath.Join(t.TempDir(), "run")
		failed := make(chan error)
		go func() {
			n := opens
			_, err := Run(ctx, Options{Recipe: testRecipe(t, 3), Data: []data.File{stuckFile{data.Local(file)[0], &n, stuck}}, Out: out, Device: cpu.Open(0)})
			failed <- err
		}()
		<-stuck
		cancel()
		select {
		case err := <-failed:
			if !errors.Is(err, context.Canceled) {
				t.Errorf("stuck after %d files: %v", opens, err)
			}
		case <-time.After(5 * time.Second):
			t.Fatalf("stuck after %d files, the run does not end", opens)
		}
		if _, err := os.Stat(out); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("stuck after %d files, the run's folder is left: %v", opens, err)
		}
	}
}

// TestInterruptedFirstStep: a run that waits for its first rows ends at once.
func TestInterruptedFirstStep(t *testing.T) {
	file := vlmtest.Data(t, 40)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	r := testRecipe(t, 3)
	r.HoldOut = 0
	_, err := Run(ctx, Options{Recipe: r, Data: data.Local(file), Out: filepath.Join(t.TempDir(), "run"), Device: cpu.Open(0), Observe: Observer{Start: func(Info) { cancel() }}})
	if !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	require.NoError(t, t.Context().Err())
}
