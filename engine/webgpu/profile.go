//go:build cgo && !nowebgpu && ((linux && amd64) || darwin || (windows && amd64))

package webgpu

import (
	"context"
	"encoding/binary"
	"fmt"
	"slices"
	"time"

	"github.com/rajveermalviya/go-webgpu/wgpu"

	"patchwork/engine"
	"patchwork/shaders"
)

// Profile replays the program with every dispatch in its own pass between two time
// stamps. The error matches engine.ErrUnsupported where the device has no time stamps.
func (e *executable) Profile(ctx context.Context, step *[shaders.StepWords]uint32) ([]engine.Timing, error) {
	if err := e.prepare(step); err != nil {
		return nil, err
	}
	d := e.device
	if !slices.Contains(d.info.Features, "timestamp-query") {
		return nil, fmt.Errorf("%s: profile: %s has no timestamp-query: %w", e.Plan.Program.Name, d.info.Device, engine.ErrUnsupported)
	}
	if err := d.calibrate(); err != nil {
		return nil, err
	}
	var timings []engine.Timing
	var origin uint64
	for first := 0; first < len(e.calls); first += profileChunk {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		end := min(first+profileChunk, len(e.calls))
		stamps, err := d.stamped(2*(end-first), func(c *wgpu.CommandEncoder, stamp func(int) error) error {
			for i := first; i < end; i++ {
				at := 2 * (i - first)
				if err := stamp(at); err != nil {
					return err
				}
				if err := e.encode(c, i, i+1); err != nil {
					return err
				}
				if err := stamp(at + 1); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return nil, fmt.Errorf("%s: profile: %w", e.Plan.Program.Name, err)
		}
		if first == 0 {
			origin = stamps[0]
		}
		for i := first; i < end; i++ {
			begin, finish := stamps[2*(i-first)], stamps[2*(i-first)+1]
			timings = append(timings, engine.Timing{Dispatch: i, Start: d.ticks(begin - origin), Duration: d.ticks(finish - min(begin, finish))})
		}
	}
	return e.Plan.SumParts(timings), nil
}

// profileChunk is the largest number of dispatches of one query set.
const profileChunk = wgpu.QuerySetMaxQueries / 4

func (d *Device) ticks(n uint64) time.Duration { return time.Duration(float64(n) * d.period) }

// stamped submits commands with time stamps and returns them.
func (d *Device) stamped(n int, record func(c *wgpu.CommandEncoder, stamp func(int) error) error) ([]uint64, error) {
	set, err := d.device.CreateQuerySet(&wgpu.QuerySetDescriptor{Type: wgpu.QueryType_Timestamp, Count: uint32(n)})
	if err != nil {
		return nil, err
	}
	defer set.Release()
	resolved, err := d.allocate(int64(8*n), "time stamps", wgpu.BufferUsage_QueryResolve|wgpu.BufferUsage_CopySrc)
	if err != nil {
		return nil, err
	}
	defer resolved.release()
	err = d.submit(func(c *wgpu.CommandEncoder) error {
		if err := record(c, func(i int) error { return c.WriteTimestamp(set, uint32(i)) }); err != nil {
			return err
		}
		return c.ResolveQuerySet(set, 0, uint32(n), resolved.buffer, 0)
	})
	if err != nil {
		return nil, err
	}
	bytes := make([]byte, 8*n)
	if err := d.readWords(resolved, 0, bytes); err != nil {
		return nil, err
	}
	stamps := make([]uint64, n)
	for i := range stamps {
		stamps[i] = binary.LittleEndian.Uint64(bytes[8*i:])
	}
	return stamps, nil
}

// calibrate measures the length of a tick, which this version of the library does not
// report, with the host's clock.
func (d *Device) calibrate() error {
	if d.period > 0 {
		return nil
	}
	var ticks [2]uint64
	var clock [2]time.Time
	for i := range ticks {
		if i > 0 {
			time.Sleep(calibration)
		}
		before := time.Now()
		stamps, err := d.stamped(1, func(_ *wgpu.CommandEncoder, stamp func(int) error) error { return stamp(0) })
		if err != nil {
			return err
		}
		ticks[i], clock[i] = stamps[0], before.Add(time.Since(before)/2)
	}
	elapsed := float64(clock[1].Sub(clock[0]).Nanoseconds())
	d.period = elapsed / float64(max(ticks[1]-ticks[0], 1))
	// Most clocks tick in nanoseconds, more exactly than this measurement.
	if d.period > 0.9 && d.period < 1.1 {
		d.period = 1
	}
	return nil
}

const calibration = 50 * time.Millisecond
