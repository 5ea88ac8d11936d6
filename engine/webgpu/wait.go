//go:build cgo && !nowebgpu && ((linux && amd64) || darwin || (windows && amd64))

package webgpu

import (
	"context"
	"fmt"
	"time"

	"patchwork/engine"
)

// The longest that the work of one wait may take, far above SubmitChunks' target: a
// software driver also compiles large shaders in that time. The library does not report a
// device that hangs or is lost: its queue just never becomes empty.
const (
	hardwareTimeout = 2 * time.Minute
	softwareTimeout = 30 * time.Minute
)

// grace is how long a cancelled wait continues, so that work in flight ends before memory
// is freed.
const grace = 500 * time.Millisecond

// queue is the library's queue; tests replace it.
type queue interface {
	// idle polls, for some milliseconds at most, whether all submitted work is done.
	idle() bool
}

// wait waits until all submitted work is done. The device counts as lost when that takes
// longer than its timeout; a cancelled wait ends soon with the context's error, while
// the work continues.
func (d *Device) wait(ctx context.Context) error {
	return d.until(ctx, func() bool { return true })
}

// until waits until the queue is empty and done reports true.
func (d *Device) until(ctx context.Context, done func() bool) error {
	if d.lost != nil {
		return d.lost
	}
	start := time.Now()
	var cancelled time.Time
	for {
		if d.library.idle() {
			if done() {
				return nil
			}
			time.Sleep(time.Millisecond)
		}
		now := time.Now()
		if now.Sub(start) > d.timeout {
			return d.fail(fmt.Errorf("it has not responded for %v: %w", d.timeout, engine.ErrDeviceLost))
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
