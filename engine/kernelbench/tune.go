package kernelbench

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"math"
	"slices"
	"time"

	"patchwork/engine"
	"patchwork/engine/tuned"
	"patchwork/shaders"
)

// The variants of a case run interleaved, for at least tuneRounds rounds and tuneTime, so
// that disturbances affect them alike. To replace the class's own, another must be faster
// by tuneGain at its best, and in tuneWins of the rounds.
const (
	tuneRounds    = 5
	tuneMaxRounds = 100
	tuneTime      = 300 * time.Millisecond
	tuneGain      = 0.95
	tuneWins      = 0.7
)

// TuneCases returns the cases worth tuning: for every bucket of parameters that several
// variants can run, the one with the largest total cost.
func TuneCases(info engine.Info, cases []*Case) []*Case {
	heaviest := map[string]*Case{}
	weight := func(c *Case) float64 { return float64(c.Calls) * (c.Cost.Flops + c.Cost.Bytes) }
	for _, c := range cases {
		bucket := c.Kernel.Bucket(c.Params, c.Storage)
		if len(c.Kernel.Runnable(c.Params, c.Storage, info.Caps())) < 2 {
			continue
		}
		if best := heaviest[bucket]; best == nil || weight(c) > weight(best) {
			heaviest[bucket] = c
		}
	}
	var out []*Case
	for _, c := range heaviest {
		out = append(out, c)
	}
	slices.SortFunc(out, func(a, b *Case) int {
		return cmp.Or(cmp.Compare(a.Kernel.Name, b.Kernel.Name), cmp.Compare(a.Kernel.Bucket(a.Params, a.Storage), b.Kernel.Bucket(b.Params, b.Storage)))
	})
	return out
}

// Tune measures the variants that can run a case and returns the choice: the fastest, or
// the class's own where none is clearly faster. A variant whose result differs from that
// of the class's own is excluded, as is one that takes ten times as long in its first
// run. The device's choices are restored.
func Tune(ctx context.Context, dev engine.Tunable, c *Case, maxCallTime time.Duration) (tuned.Entry, error) {
	before := dev.Info().Choices
	defer dev.SetChoices(before)
	dev.SetChoices(nil)
	bucket := c.Kernel.Bucket(c.Params, c.Storage)
	own, _ := dev.Info().Choose(c.Kernel, c.Params, c.Storage)
	entry := tuned.Entry{Kernel: c.Kernel.Name, Bucket: bucket, Case: c.Name, US: map[string]float64{}}
	if own == nil {
		return entry, &SkipError{"no variant runs on the device"}
	}
	var err error
	if entry.Sources, err = c.Kernel.SourceHash(); err != nil {
		return entry, err
	}
	entry.Default, entry.Variant = own.Name, own.Name
	candidates, err := prepareVariants(ctx, dev, c, own, maxCallTime)
	defer func() {
		for _, x := range candidates {
			x.free()
		}
	}()
	if err != nil {
		return entry, err
	}
	rounds, wins := 0, map[string]int{}
	for start := time.Now(); rounds < tuneRounds || rounds < tuneMaxRounds && time.Since(start) < tuneTime; rounds++ {
		var own time.Duration
		for i, x := range candidates {
			t, err := x.time(ctx)
			if err != nil {
				return entry, err
			}
			if i == 0 {
				own = t
			}
			if t < own {
				wins[x.variant]++
			}
			if old, ok := entry.US[x.variant]; !ok || us(t) < old {
				entry.US[x.variant] = us(t)
			}
		}
	}
	entry.Variant = fastestOf(entry, wins, rounds)
	return entry, nil
}

// fastestOf is the variant to choose after the rounds.
func fastestOf(e tuned.Entry, wins map[string]int, rounds int) string {
	best, least := e.Default, tuneGain*e.US[e.Default]
	for _, v := range slices.Sorted(maps.Keys(e.US)) {
		if t := e.US[v]; t < least && float64(wins[v]) >= tuneWins*float64(rounds) {
			best, least = v, t
		}
	}
	return best
}

// candidate is a case compiled with one of its variants.
type candidate struct {
	*call
	variant string
}

// prepareVariants compiles every variant, the class's own first, and runs each once.
func prepareVariants(ctx context.Context, dev engine.Tunable, c *Case, own *shaders.Variant, maxCallTime time.Duration) (all []candidate, err error) {
	variants := []*shaders.Variant{own}
	for _, v := range c.Kernel.Runnable(c.Params, c.Storage, dev.Info().Caps()) {
		if v != own {
			variants = append(variants, v)
		}
	}
	var want [][]uint32
	var first time.Duration
	for i, v := range variants {
		dev.SetChoices(shaders.Choices{c.Kernel.Bucket(c.Params, c.Storage): v.Name})
		x, err := newCall(dev, c)
		if unsupportedReason(err) != "" && i > 0 {
			continue
		}
		if reason := unsupportedReason(err); reason != "" {
			return all, &SkipError{reason}
		}
		if err != nil {
			return all, err
		}
		all = append(all, candidate{x, v.Name})
		t, got, err := x.firstRun(ctx)
		if err != nil {
			return all, err
		}
		if i == 0 {
			want, first = got, t
			if t > maxCallTime {
				return all, &SkipError{fmt.Sprintf("a call took %.1f s", t.Seconds())}
			}
			continue
		}
		if t > 10*first || !sameResults(c, got, want) {
			x.free()
			all = all[:len(all)-1]
		}
	}
	return all, nil
}

// firstRun fills the buffers, runs the call twice and returns the better time and the
// outputs of the first run.
func (x *call) firstRun(ctx context.Context) (t time.Duration, written [][]uint32, err error) {
	if err := x.fill(); err != nil {
		return 0, nil, err
	}
	if t, err = x.time(ctx); err != nil {
		return 0, nil, err
	}
	defer func() { // a first run may have been disturbed
		if again, failed := x.time(ctx); failed == nil {
			t = min(t, again)
		}
	}()
	written = make([][]uint32, len(x.buffers))
	for i, b := range x.buffers {
		if b != nil && x.c.Kernel.Bindings[i].Access != shaders.Read {
			if written[i], err = x.read(i); err != nil {
				return 0, nil, err
			}
		}
	}
	return t, written, nil
}

// sameResults reports whether two variants wrote the same up to rounding: see
// ownTolerance.
func sameResults(c *Case, got, want [][]uint32) bool {
	for i := range want {
		if c.Kernel.Bindings[i].Type != shaders.F32 {
			if !slices.Equal(got[i], want[i]) {
				return false
			}
			continue
		}
		var largest, worst float64
		for j, w := range want[i] {
			a, b := float64(math.Float32frombits(w)), float64(math.Float32frombits(got[i][j]))
			if math.IsNaN(a) && math.IsNaN(b) || a == b {
				continue
			}
			if d := math.Abs(a-b) - step(c.typeOf(i), a); !(d <= worst) {
				worst = d
			}
			largest = max(largest, math.Abs(a))
		}
		if !(worst <= ownTolerance*largest) {
			return false
		}
	}
	return true
}

func us(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1e3 }

// step is an upper bound of the distance between neighbouring values of a 16-bit type, 0
// for others: sums in another order may be rounded to a neighbour.
func step(t shaders.Type, x float64) float64 {
	switch t {
	case shaders.BF16:
		return math.Abs(x) * 0x1p-7
	case shaders.F16:
		return math.Abs(x)*0x1p-10 + 0x1p-24
	}
	return 0
}
