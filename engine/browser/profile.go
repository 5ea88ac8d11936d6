//go:build js

package browser

import (
	"context"
	"encoding/binary"
	"fmt"
	"slices"
	"syscall/js"
	"time"

	"patchwork/engine"
	"patchwork/shaders"
)

// profileChunk is the number of dispatches of one query set, which holds at most 4096 time
// stamps.
const profileChunk = 1024

// Profile replays the program with every dispatch in its own pass between two time stamps,
// which browsers round, to 100 µs in Chromium. The error matches engine.ErrUnsupported where
// the device has no time stamps.
func (e *executable) Profile(ctx context.Context, step *[shaders.StepWords]uint32) ([]engine.Timing, error) {
	if err := e.prepare(step); err != nil {
		return nil, err
	}
	d := e.device
	if !slices.Contains(d.info.Features, timestamps) {
		return nil, e.named(fmt.Errorf("profile: %s has no %s: %w", d.info.Device, timestamps, engine.ErrUnsupported))
	}
	var timings []engine.Timing
	var origin uint64
	for first := 0; first < len(e.calls); first += profileChunk {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		stamps, err := e.stamped(first, min(first+profileChunk, len(e.calls)))
		if err != nil {
			return nil, e.named(wrap("profile", err))
		}
		if first == 0 {
			origin = stamps[0]
		}
		for i := 0; i < len(stamps); i += 2 {
			begin, finish := stamps[i], max(stamps[i], stamps[i+1])
			timings = append(timings, engine.Timing{Dispatch: first + i/2, Start: time.Duration(max(begin, origin) - origin), Duration: time.Duration(finish - begin)})
		}
	}
	return e.Plan.SumParts(timings), nil
}

// stamped runs dispatches and returns the time, in nanoseconds, before and after each.
func (e *executable) stamped(first, end int) ([]uint64, error) {
	d, n := e.device, 2*(end-first)
	set := d.device.Call("createQuerySet", map[string]any{"type": "timestamp", "count": n})
	defer set.Call("destroy")
	resolved, err := d.allocate(int64(8*n), "time stamps", usageQueryResolve|usageCopySrc)
	if err != nil {
		return nil, err
	}
	defer resolved.release()
	err = d.submit(func(encoder js.Value) {
		for i := first; i < end; i++ {
			at := 2 * (i - first)
			e.encode(encoder, map[string]any{"timestampWrites": map[string]any{
				"querySet": set, "beginningOfPassWriteIndex": at, "endOfPassWriteIndex": at + 1,
			}}, i, i+1)
		}
		encoder.Call("resolveQuerySet", set, 0, n, resolved.buffer, 0)
	})
	if err != nil {
		return nil, err
	}
	bytes := make([]byte, 8*n)
	if err := d.Read(resolved, 0, bytes); err != nil {
		return nil, err
	}
	stamps := make([]uint64, n)
	for i := range stamps {
		stamps[i] = binary.LittleEndian.Uint64(bytes[8*i:])
	}
	return stamps, nil
}
