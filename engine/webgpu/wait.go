//go:build cgo && !nowebgpu && ((linux && amd64) || darwin || (windows && amd64))

package webgpu

import (
	"context"
	"fmt"
	"time"

	"patchwork/engine"
)

// Longest that the work of one wait may take, far above what pieces are cut to: a
// driver in software compiles large shaders in that time too. The library does not tell
// of a device that hangs or is lost: its queue just never becomes empty.
const (
	hardwarePatience = 2 * time.Minute
	softwarePatience = 30 * time.Minute
)

// grace is how long a cancelled wait goes on: honest work ends in it, so that what is
// freed next is not in use.
const grace = 500 * time.Millisecond

// queue is what is asked of the library while it works; tests put another in its place.
type queue interface {
	// idle asks, for some milliseconds at most, whether everything submitted is done.
	idle() bool
}

// wait waits until the device has done all that was submitted. The device counts as lost
// when that takes longer than its patience; a cancelled wait ends soon with the context's
// error, and what was submitted goes on.
func (d *Device) wait(ctx context.Context) error {
	return d.until(ctx, func() bool { return true })
}

// until waits until the queue is empty and what it was to bring about has come.
func (d *Device) until(ctx context.Context, came func() bool) error {
	if d.lost != nil {
		return d.lost
	}
	start := time.Now()
	var cancelled time.Time
	for {
		if d.library.idle() {
			if came() {
				return nil
			}
			time.Sleep(time.Millisecond)
		}
		now := time.Now()
		if now.Sub(start) > d.patience {
			return d.fail(fmt.Errorf("it has not answered for %v: %w", d.patience, engine.ErrDeviceLost))
		}
		if ctx.Err() == nil {
			continue
		}
		if cancelled.IsZero() {
			cancelled = now
		}
		if now.Sub(cancelled) > grace {
			return ctx.Err()
		}
	}
}
