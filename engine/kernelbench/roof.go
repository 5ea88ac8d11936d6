package kernelbench

import (
	"context"
	"errors"
	"time"

	"patchwork/engine"
	"patchwork/shaders"
)

// Roof is a device's measured roofline.
type Roof struct {
	Flops  float64       // a second, of multiply-adds in registers
	Levels []Level       // of memory, by growing working set
	Launch time.Duration // of a nearly empty call
	// Noise is the largest relative excess of a roofline kernel's mean time over its
	// best: near 0 on a quiet machine.
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

// Bandwidth is the best at a working set of this size or more: a smaller set fits in the
// same cache.
func (r Roof) Bandwidth(bytes float64) (perSecond float64) {
	for i, l := range r.Levels {
		if float64(l.Bytes) >= bytes || i == len(r.Levels)-1 {
			perSecond = max(perSecond, l.PerSecond)
		}
	}
	return perSecond
}

// Least is the minimum time of a call of this cost, and what bounds it.
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

// Fraction is the fraction of the roofline that a call of this cost reaches.
func (r Roof) Fraction(cost shaders.Cost, seconds float64) (fraction float64, bound string) {
	least, bound := r.Least(cost)
	return least / seconds, bound
}

// levelBytes are the working sets that are copied: caches of every size, and memory.
var levelBytes = []int64{64 << 10, 256 << 10, 1 << 20, 4 << 20, 16 << 20, 64 << 20, 256 << 20}

// gaugeTime is the duration of one measurement of a figure.
const gaugeTime = 25 * time.Millisecond

// gauges measure a device's roofline repeatedly during a run: other load can only make a
// figure worse, so that the best one is used.
type gauges struct {
	all  []*gauge
	next int
}

// gauge is a figure of the roofline, measured by one kernel.
type gauge struct {
	*call
	bytes int64 // of a level of memory, 0 for the others
	best  time.Duration
	sum   time.Duration
	runs  int
}

// newGauges prepares and measures every figure once. Where memory is short, the largest
// working sets are omitted.
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

// add prepares a figure: a kernel from x to y, of each bytes.
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

// remeasureNext measures the next figure again, round robin.
func (g *gauges) remeasureNext(ctx context.Context) error {
	g.next++
	return g.all[g.next%len(g.all)].measure(ctx)
}

// roof is the best of all measurements.
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
