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
	"patchwork/vlm/data"
	"patchwork/vlm/internal/vlmtest"
	"patchwork/vlm/pretrained"
)

// failingDevice is a device on which the nth run of a program fails. With engine.ErrDeviceLost
// every later call fails too.
type failingDevice struct {
	engine.Device
	program string
	left    int // runs until the failure
	fault   error
	failed  bool
}

func (f *failingDevice) lost() error {
	if f.failed && errors.Is(f.fault, engine.ErrDeviceLost) {
		return f.fault
	}
	return nil
}

func (f *failingDevice) Allocate(bytes int64, what string) (engine.Memory, error) {
	if err := f.lost(); err != nil {
		return nil, err
	}
	return f.Device.Allocate(bytes, what)
}

func (f *failingDevice) Read(m engine.Memory, offset int64, data []byte) error {
	if err := f.lost(); err != nil {
		return err
	}
	return f.Device.Read(m, offset, data)
}

func (f *failingDevice) Compile(p *engine.Plan, arena []engine.Memory) (engine.Executable, error) {
	e, err := f.Device.Compile(p, arena)
	return &failingProgram{e, p.Program.Name, f}, err
}

type failingProgram struct {
	engine.Executable
	name   string
	device *failingDevice
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

// TestDeviceFailures makes the device fail during a run. The state is saved if possible, the error
// names the checkpoint to resume from, and the resumed run ends with the same bits as one that
// never failed.
func TestDeviceFailures(t *testing.T) {
	files, r := []string{vlmtest.Data(t, 40)}, testRecipe(t, 8)
	r.SaveEvery, r.ValEvery = 4, 0
	reference := filepath.Join(t.TempDir(), "reference")
	_, err := trainOn(t, cpu.Open(0), r, files, reference, false, Observer{})
	require.NoError(t, err)
	oom := &engine.OutOfMemoryError{Device: "test", What: "activations", Asked: 1 << 30}
	for _, c := range []struct {
		name, program string
		nth           int
		fault         error
		saved         string // the expected checkpoint; "" = none
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
			dev := &failingDevice{Device: cpu.Open(0), program: c.program, left: c.nth, fault: c.fault}
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
			same(t, "a run that failed and one that did not", losses(t, reference), losses(t, out))
			a, err := os.ReadFile(filepath.Join(reference, pretrained.WeightsFile))
			require.NoError(t, err)
			b, err := os.ReadFile(filepath.Join(out, pretrained.WeightsFile))
			require.NoError(t, err)
			if string(a) != string(b) {
				t.Error("the weights differ")
			}
		})
	}
}

// TestInterruptedUpdate cancels a run in the middle of an update: the update is completed, and the
// resumed run ends with the same losses as an uninterrupted one.
func TestInterruptedUpdate(t *testing.T) {
	files, r := []string{vlmtest.Data(t, 40)}, testRecipe(t, 6)
	reference, out := filepath.Join(t.TempDir(), "reference"), filepath.Join(t.TempDir(), "run")
	_, err := trainOn(t, cpu.Open(0), r, files, reference, false, Observer{})
	require.NoError(t, err)
	inner, cancel := context.WithCancel(context.Background())
	defer cancel()
	// The norm of four ranges, the clip factor and four updates: two of the updates are done.
	ctx := &countdown{Context: inner, cancel: cancel, left: 8}
	_, err = Run(ctx, Options{Recipe: r, Data: data.Local(files...), Out: out, Device: &armingDevice{cpu.Open(0), 3, ctx}})
	if !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v, want it interrupted", err)
	}
	if all := checkpoint.Names(filepath.Join(out, "checkpoints")); len(all) != 1 || filepath.Base(all[0]) != "step-000003" {
		t.Errorf("the checkpoints are %v, want one of the third step", all)
	}
	_, err = trainOn(t, cpu.Open(0), r, files, out, true, Observer{})
	require.NoError(t, err)
	same(t, "a run that was interrupted in an update and one that was not", losses(t, reference), losses(t, out))
}

// countdown is a context that, once armed, is cancelled after a number of calls of Err, or when
// the armed program has run.
type countdown struct {
	context.Context
	cancel context.CancelFunc
	left   int // runs until the failure
	armed  bool
}

func (f *countdown) Err() error {
	if f.armed {
		if f.left--; f.left == 0 {
			f.cancel()
		}
	}
	return f.Context.Err()
}

// armingDevice is a device that arms a countdown when the nth update starts.
type armingDevice struct {
	engine.Device
	nth int
	ctx *countdown
}

func (l *armingDevice) Compile(p *engine.Plan, arena []engine.Memory) (engine.Executable, error) {
	e, err := l.Device.Compile(p, arena)
	if p.Program.Name == "update" {
		return &armingProgram{e, l}, err
	}
	return e, err
}

type armingProgram struct {
	engine.Executable
	device *armingDevice
}

func (p *armingProgram) Run(ctx context.Context, step *[shaders.StepWords]uint32) error {
	l := p.device
	if l.nth--; l.nth != 0 {
		return p.Executable.Run(ctx, step)
	}
	l.ctx.armed = true
	err := p.Executable.Run(ctx, step)
	l.ctx.armed = false
	l.ctx.cancel()
	return err
}
