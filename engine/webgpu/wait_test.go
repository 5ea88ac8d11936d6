//go:build cgo && !nowebgpu && ((linux && amd64) || darwin || (windows && amd64))

package webgpu

import (
	"context"
	"errors"
	"testing"
	"time"

	"patchwork/engine"
)

// hung is a queue that never becomes empty, or only after a number of polls.
type hung struct {
	queue
	asked, ends int
}

func (h *hung) idle() bool {
	if h.asked++; h.ends > 0 && h.asked > h.ends {
		return h.queue.idle()
	}
	time.Sleep(time.Millisecond)
	return false
}

// TestHang replaces the library's queue by one that never becomes empty: every wait ends
// with the loss of the device or, with a cancelled context, without it.
func TestHang(t *testing.T) {
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	soon := func() context.Context {
		ctx, stop := context.WithTimeout(t.Context(), 50*time.Millisecond)
		t.Cleanup(stop)
		return ctx
	}
	background := func() context.Context { return t.Context() }
	run := func(ctx context.Context, e engine.Executable, _ *Device, _ []engine.Memory) error {
		return e.Run(ctx, &step)
	}
	for _, c := range []struct {
		name    string
		timeout time.Duration
		ends    int
		ctx     func() context.Context
		call    func(ctx context.Context, e engine.Executable, d *Device, memories []engine.Memory) error
		want    error
	}{
		{"run", 50 * time.Millisecond, 0, background, run, engine.ErrDeviceLost},
		{"read", 50 * time.Millisecond, 0, background, func(_ context.Context, _ engine.Executable, d *Device, memories []engine.Memory) error {
			return d.Read(memories[0], 0, make([]byte, 8))
		}, engine.ErrDeviceLost},
		{"write of chunks", 50 * time.Millisecond, 0, background, func(_ context.Context, _ engine.Executable, d *Device, memories []engine.Memory) error {
			return d.Write(memories[0], 0, make([]byte, chunkBytes+4))
		}, engine.ErrDeviceLost},
		{"profile", 50 * time.Millisecond, 0, background, func(ctx context.Context, e engine.Executable, _ *Device, _ []engine.Memory) error {
			_, err := e.Profile(ctx, &step)
			return err
		}, engine.ErrDeviceLost},
		{"cancelled in the wait", time.Minute, 0, soon, run, context.DeadlineExceeded},
		{"cancelled before", time.Minute, 0, func() context.Context { return cancelled }, run, context.Canceled},
		{"lost while cancelled", 50 * time.Millisecond, 0, func() context.Context { return cancelled }, run, engine.ErrDeviceLost},
		{"slow", time.Minute, 100, background, run, nil},
		{"slow read", time.Minute, 100, background, func(_ context.Context, _ engine.Executable, d *Device, memories []engine.Memory) error {
			return d.Read(memories[0], 0, make([]byte, 8))
		}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := openKind(t, "software", software)
			e, _, memories := fills(t, d, (chunkBytes+4)/4)
			library := d.library
			d.library, d.timeout = &hung{queue: library, ends: c.ends}, c.timeout
			err := c.call(c.ctx(), e, d, memories)
			if !errors.Is(err, c.want) {
				t.Fatalf("got %v, want %v", err, c.want)
			}
			if lost := errors.Is(c.want, engine.ErrDeviceLost); lost != errors.Is(d.usable(), engine.ErrDeviceLost) {
				t.Errorf("afterwards the device is in state %v", d.usable())
			}
			if d.lost == nil { // still usable
				d.library = library
				if err := e.Run(t.Context(), &step); err != nil {
					t.Errorf("run again: %v", err)
				}
			}
			e.Free()
			if err := d.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestCloseHungDevice closes a device whose work does not end.
func TestCloseHungDevice(t *testing.T) {
	d := openKind(t, "software", software)
	d.library, d.timeout = &hung{queue: d.library}, 20*time.Millisecond
	if err := d.Close(); err != nil {
		t.Error(err)
	}
	if !errors.Is(d.lost, engine.ErrDeviceLost) {
		t.Errorf("lost: %v", d.lost)
	}
}
