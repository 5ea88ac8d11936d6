package train

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"patchwork/engine"
	"patchwork/engine/cpu"
	"patchwork/internal/require"
	"patchwork/shaders"
	"patchwork/vlm/checkpoint"
	"patchwork/vlm/internal/vlmtest"
	"patchwork/vlm/pretrained"
)

// failing is a device whose program of the given name fails when it is run for the
// nth time, and which from then on fails in everything when it is lost.
type failing struct {
	engine.Device
	program string
	left    int
	fault   error
	failed  bool
}

func (f *failing) lost() error {
	if f.failed && errors.Is(f.fault, engine.ErrDeviceLost) {
		return f.fault
	}
	return nil
}

func (f *failing) Allocate(bytes int64, what string) (engine.Memory, error) {
	if err := f.lost(); err != nil {
		return nil, err
	}
	return f.Device.Allocate(bytes, what)
}

func (f *failing) Read(m engine.Memory, offset int64, data []byte) error {
	if err := f.lost(); err != nil {
		return err
	}
	return f.Device.Read(m, offset, data)
}

func (f *failing) Compile(p *engine.Plan, arena []engine.Memory) (engine.Executable, error) {
	e, err := f.Device.Compile(p, arena)
	return &failingProgram{e, p.Program.Name, f}, err
}

type failingProgram struct {
	engine.Executable
	name   string
	device *failing
}

func (p *failingProgram) Run(ctx context.Context, step *[shaders.StepWords]uint32) error {
	f := p.device
	if err := f.lost(); err != nil {
		return err
	}
	if p.name == f.program {
		if f.left--; f.left == 0 {
			f.failed = true
			return fmt.Errorf("%s: %w", p.name, f.fault)
		}
	}
	return p.Executable.Run(ctx, step)
}

// TestTrainFaults makes a run's device fail in the middle of it: what can be saved is
// saved, the error says from where to go on, and the run that goes on there ends as
// one that never failed.
func TestTrainFaults(t *testing.T) {
	files, r := []string{vlmtest.Data(t, 40)}, testRecipe(t, 8)
	r.SaveEvery, r.ValEvery = 4, 0
	whole := filepath.Join(t.TempDir(), "whole")
	_, err := trainOn(t, cpu.Open(0), r, files, whole, false, Observer{})
	require.NoError(t, err)
	oom := &engine.OutOfMemoryError{Device: "test", What: "activations", Asked: 1 << 30}
	for _, c := range []struct {
		name, program string
		nth           int
		fault         error
		saved         string // the checkpoint that is to be there; "" for none
	}{
		{"lost in a step", "step", 7, engine.ErrDeviceLost, "step-000004"},
		{"lost before a checkpoint", "step", 3, engine.ErrDeviceLost, ""},
		{"lost in an update", "update", 6, engine.ErrDeviceLost, "step-000004"},
		{"out of memory in a step", "step", 7, oom, "step-000006"},
		{"out of memory in the first step", "step", 1, oom, ""},
		{"out of memory in an update", "update", 6, oom, "step-000004"},
	} {
		t.Run(c.name, func(t *testing.T) {
			out := filepath.Join(t.TempDir(), "run")
			dev := &failing{Device: cpu.Open(0), program: c.program, left: c.nth, fault: c.fault}
			_, err := trainOn(t, dev, r, files, out, false, Observer{})
			var stopped *StoppedError
			if !errors.As(err, &stopped) || !errors.Is(err, c.fault) || stopped.Step != c.nth-1 {
				t.Fatalf("got %v, want %v after step %d", err, c.fault, c.nth-1)
			}
			want := c.saved
			if want != "" {
				want = filepath.Join(out, "checkpoints", want)
			}
			if stopped.Checkpoint != want {
				t.Errorf("the newest checkpoint is %q, want %q", stopped.Checkpoint, want)
			}
			_, err = trainOn(t, cpu.Open(0), r, files, out, true, Observer{})
			require.NoError(t, err)
			same(t, "a run that failed and one that did not", losses(t, whole), losses(t, out))
			a, err := os.ReadFile(filepath.Join(whole, pretrained.WeightsFile))
			require.NoError(t, err)
			b, err := os.ReadFile(filepath.Join(out, pretrained.WeightsFile))
			require.NoError(t, err)
			if string(a) != string(b) {
				t.Error("the weights differ")
			}
		})
	}
}

// TestInterruptedUpdate cancels a run in the middle of an update: the step is carried
// through, and the run that goes on ends as one that was not stopped.
func TestInterruptedUpdate(t *testing.T) {
	files, r := []string{vlmtest.Data(t, 40)}, testRecipe(t, 6)
	whole, out := filepath.Join(t.TempDir(), "whole"), filepath.Join(t.TempDir(), "run")
	_, err := trainOn(t, cpu.Open(0), r, files, whole, false, Observer{})
	require.NoError(t, err)
	inner, cancel := context.WithCancel(context.Background())
	defer cancel()
	// A norm of four ranges, the clip factor and four updates: two of them are done.
	fuse := &fuse{Context: inner, cancel: cancel, left: 8}
	_, err = Run(fuse, Options{Recipe: r, Data: files, Out: out, Device: &lighting{cpu.Open(0), 3, fuse}})
	if !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v, want it interrupted", err)
	}
	if all := checkpoint.Names(filepath.Join(out, "checkpoints")); len(all) != 1 || filepath.Base(all[0]) != "step-000003" {
		t.Errorf("the checkpoints are %v, want one of the third step", all)
	}
	_, err = trainOn(t, cpu.Open(0), r, files, out, true, Observer{})
	require.NoError(t, err)
	same(t, "a run that was interrupted in an update and one that was not", losses(t, whole), losses(t, out))
}

// fuse is a context that, once it is lit, is cancelled when it has been asked so many
// times more, or when what it was lit for is over.
type fuse struct {
	context.Context
	cancel context.CancelFunc
	left   int
	lit    bool
}

func (f *fuse) Err() error {
	if f.lit {
		if f.left--; f.left == 0 {
			f.cancel()
		}
	}
	return f.Context.Err()
}

// lighting is a device that lights a fuse when the nth update begins.
type lighting struct {
	engine.Device
	nth  int
	fuse *fuse
}

func (l *lighting) Compile(p *engine.Plan, arena []engine.Memory) (engine.Executable, error) {
	e, err := l.Device.Compile(p, arena)
	if p.Program.Name == "update" {
		return &lightingProgram{e, l}, err
	}
	return e, err
}

type lightingProgram struct {
	engine.Executable
	device *lighting
}

func (p *lightingProgram) Run(ctx context.Context, step *[shaders.StepWords]uint32) error {
	l := p.device
	if l.nth--; l.nth != 0 {
		return p.Executable.Run(ctx, step)
	}
	l.fuse.lit = true
	err := p.Executable.Run(ctx, step)
	l.fuse.lit = false
	l.fuse.cancel()
	return err
}
