package kernelbench

import (
	"context"
	"errors"
	"time"

	"patchwork/engine"
	"patchwork/shaders"
)

// Roof is what a device reaches at its best, measured.
type Roof struct {
	Flops  float64       // a second, of multiply-adds in registers
	Levels []Level       // of memory, by growing working set
	Launch time.Duration // of a call that does next to nothing
	// Noise is by how much of their best the roofs' own kernels took longer on
	// average, the one most disturbed: near 0 on a quiet machine.
	Noise float64
}

// Level is the bandwidth at a working set.
type Level struct {
	Bytes     int64   // read and written
	PerSecond float64 // bytes
}

// Bounds of a call.
const (
	ByCompute = "compute"
	ByMemory  = "memory"
	ByLaunch  = "launch"
)

// Bandwidth is the best at a working set of so many bytes or more: what is
// smaller fits wherever the larger did.
func (r Roof) Bandwidth(bytes float64) (perSecond float64) {
	for i, l := range r.Levels {
		if float64(l.Bytes) >= bytes || i == len(r.Levels)-1 {
			perSecond = max(perSecond, l.PerSecond)
		}
	}
	return perSecond
}

// Least is the least time that a call of this cost can take, and what bounds it.
func (r Roof) Least(cost shaders.Cost) (seconds float64, bound string) {
	seconds, bound = r.Launch.Seconds(), ByLaunch
	if r.Flops > 0 && cost.Flops/r.Flops > seconds {
		seconds, bound = cost.Flops/r.Flops, ByCompute
	}
	if b := r.Bandwidth(cost.Bytes); b > 0 && cost.Bytes/b > seconds {
		seconds, bound = cost.Bytes/b, ByMemory
	}
	return seconds, bound
}

// Fraction is how much of its roofline a call of this cost reaches.
func (r Roof) Fraction(cost shaders.Cost, seconds float64) (fraction float64, bound string) {
	least, bound := r.Least(cost)
	return least / seconds, bound
}

// levelBytes are the working sets that are copied: caches of every size, and memory.
var levelBytes = []int64{64 << 10, 256 << 10, 1 << 20, 4 << 20, 16 << 20, 64 << 20, 256 << 20}

// gaugeTime is how long a figure of the roof is measured at a time.
const gaugeTime = 25 * time.Millisecond

// gauges measure a device's roof, again and again through a run: whatever else the
// machine does can only make a figure worse, so that the best one counts.
type gauges struct {
	all  []*gauge
	next int
}

// gauge is a figure of the roof: a call that does nothing but what it measures.
type gauge struct {
	*call
	bytes int64 // of a level of memory, 0 for the others
	best  time.Duration
	sum   time.Duration
	runs  int
}

// newGauges prepares and measures every figure once. Where memory is short the
// largest working sets are left out.
func newGauges(ctx context.Context, dev engine.Device) (*gauges, error) {
	elements := uint32(3 << 16)
	if dev.Info().Hardware() {
		elements = 3 << 22 // work for a hundred thousand lanes
	}
	g := &gauges{}
	peak := shaders.PeakFMAParams{N: elements, Rounds: 256, A: -0.75, B: 1.5}
	err := g.add(ctx, dev, shaders.PeakFMA, peak, 4*int64(elements), 0)
	if err == nil {
		err = g.add(ctx, dev, shaders.Copy, shaders.CopyParams{N: 4}, 16, 0)
	}
	for _, bytes := range levelBytes {
		if limit := dev.Info().Limits.MaxBindingBytes; err != nil || limit > 0 && bytes/2 > limit {
			break
		}
		err = g.add(ctx, dev, shaders.Copy, shaders.CopyParams{N: uint32(bytes / 8)}, bytes/2, bytes)
	}
	if err != nil && !(errors.Is(err, engine.ErrOutOfMemory) && len(g.all) > 2) {
		g.free()
		return nil, err
	}
	return g, nil
}

// add prepares a figure: a kernel from x to y, of so many bytes each.
func (g *gauges) add(ctx context.Context, dev engine.Device, k *shaders.Kernel, params any, each, level int64) error {
	x, err := newCall(dev, &Case{Kernel: k, Params: params, Cost: k.Cost(params), sizes: []int64{each, each}, shares: []int{0, 1}})
	if err != nil {
		return err
	}
	g.all = append(g.all, &gauge{call: x, bytes: level})
	if err := x.fill(); err != nil {
		return err
	}
	if _, err := x.time(ctx); err != nil { // warm-up
		return err
	}
	return g.all[len(g.all)-1].measure(ctx)
}

func (g *gauge) measure(ctx context.Context) error {
	for start, runs := time.Now(), 0; runs == 0 || time.Since(start) < gaugeTime; runs++ {
		t, err := g.time(ctx)
		if err != nil {
			return err
		}
		if g.best == 0 || t < g.best {
			g.best = t
		}
		g.sum, g.runs = g.sum+t, g.runs+1
	}
	return nil
}

// remeasureNext measures one figure once more, all in turn.
func (g *gauges) remeasureNext(ctx context.Context) error {
	g.next++
	return g.all[g.next%len(g.all)].measure(ctx)
}

// roof is the best of all that was measured.
func (g *gauges) roof() Roof {
	var r Roof
	for i, x := range g.all {
		switch {
		case i == 0:
			r.Flops = x.c.Cost.Flops / x.best.Seconds()
		case x.bytes == 0:
			r.Launch = x.best
		default:
			r.Levels = append(r.Levels, Level{x.bytes, float64(x.bytes) / x.best.Seconds()})
		}
		r.Noise = max(r.Noise, x.sum.Seconds()/float64(x.runs)/x.best.Seconds()-1)
	}
	return r
}

func (g *gauges) free() {
	for _, x := range g.all {
		x.free()
	}
}

// MeasureRoof measures a device's roof by itself.
func MeasureRoof(ctx context.Context, dev engine.Device) (Roof, error) {
	g, err := newGauges(ctx, dev)
	if err != nil {
		return Roof{}, err
	}
	defer g.free()
	return g.roof(), nil
}
