//go:build cgo && ((linux && (amd64 || arm64)) || (windows && amd64))

package vulkan

import (
	"context"
	"fmt"
	"time"
	"unsafe"

	vk "github.com/vulkan-go/vulkan"

	"patchwork/engine"
	"patchwork/shaders"
)

// profile is a second recording of a program, with a time stamp before and after every
// dispatch.
type profile struct {
	queries  vk.QueryPool
	count    uint32
	commands []vk.CommandBuffer
}

// reset clears the time stamps; without a profile it does nothing.
func (p *profile) reset(c vk.CommandBuffer) {
	if p != nil {
		vk.CmdResetQueryPool(c, p.queries, 0, p.count)
	}
}

// mark records time stamp n, taken when everything before it is done; without a
// profile it does nothing.
func (p *profile) mark(c vk.CommandBuffer, n int) {
	if p != nil {
		vk.CmdWriteTimestamp(c, vk.PipelineStageBottomOfPipeBit, p.queries, uint32(n))
	}
}

// Profile replays the program with every dispatch alone on the device, and measures each.
// The error matches engine.ErrUnsupported where the device has no time stamps.
func (e *executable) Profile(ctx context.Context, step *[shaders.StepWords]uint32) ([]engine.Timing, error) {
	begin := time.Now()
	if err := e.prepare(step); err != nil {
		return nil, err
	}
	if len(e.calls) == 0 {
		return nil, nil
	}
	if e.profile == nil {
		if err := e.newProfile(); err != nil {
			return nil, fmt.Errorf("%s: profile: %w", e.Plan.Program.Name, err)
		}
	}
	if err := e.replay(ctx, begin, e.profile.commands); err != nil {
		return nil, err
	}
	return e.timings()
}

func (e *executable) newProfile() (err error) {
	d := e.device
	if d.physical.timestamps == 0 {
		return fmt.Errorf("%s has no time stamps: %w", d.info.Device, engine.ErrUnsupported)
	}
	count := uint32(2 * len(e.calls))
	info := vk.QueryPoolCreateInfo{
		SType:      vk.StructureTypeQueryPoolCreateInfo,
		QueryType:  vk.QueryTypeTimestamp,
		QueryCount: count,
	}
	defer info.Free()
	var queries vk.QueryPool
	if err := check("vkCreateQueryPool", vk.CreateQueryPool(d.handle, &info, nil, &queries)); err != nil {
		return err
	}
	p := &profile{queries: queries, count: count}
	if p.commands, err = e.record(p); err != nil {
		vk.DestroyQueryPool(d.handle, queries, nil)
		return err
	}
	e.profile = p
	return nil
}

// timings reads the time stamps of the last profiled replay.
func (e *executable) timings() ([]engine.Timing, error) {
	d := e.device
	ticks := make([]uint64, e.profile.count)
	flags := vk.QueryResultFlags(vk.QueryResult64Bit | vk.QueryResultWaitBit)
	r := vk.GetQueryPoolResults(d.handle, e.profile.queries, 0, e.profile.count,
		uint(8*len(ticks)), unsafe.Pointer(unsafe.SliceData(ticks)), 8, flags)
	if err := check("vkGetQueryPoolResults", r); err != nil {
		return nil, err
	}
	// The clock has fewer than 64 bits on some devices and may have wrapped.
	valid := ^uint64(0) >> (64 - d.physical.timestamps)
	since := func(a, b uint64) time.Duration {
		return time.Duration(float64((b-a)&valid) * d.physical.limits.timestampPeriod)
	}
	timings := make([]engine.Timing, len(e.calls))
	for i := range timings {
		timings[i] = engine.Timing{
			Dispatch: i,
			Start:    since(ticks[0], ticks[2*i]),
			Duration: since(ticks[2*i], ticks[2*i+1]),
		}
	}
	return e.Plan.SumParts(timings), nil
}
