package bench

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"patchwork/engine"
	"patchwork/engine/kernelbench"
	"patchwork/shaders"
	"patchwork/tools/vlmtool/internal/cli"
	"patchwork/tools/vlmtool/internal/usage"
	"patchwork/vlm/train"
)

// kernelFlags are the flags of bench kernels.
type kernelFlags struct {
	work, compare, plot string
	count               int
	caseTime            time.Duration
	limit               time.Duration
	variants            bool
}

func (f *kernelFlags) add(s *pflag.FlagSet) {
	f.workFlag(s)
	s.IntVar(&f.count, "count", 6, "samples per case; significance tests need 6")
	s.DurationVar(&f.caseTime, "case-time", 10*time.Second, "skip cases in which one call takes longer")
	s.DurationVar(&f.limit, "time-limit", 0, "skip the cases that are not reached by then; 0 = no limit, without --preset 24s")
	s.BoolVar(&f.variants, "variants", false, "measure every variant that the device can run, not only the one it chooses")
	s.StringVar(&f.compare, "compare", "", "compare with the output of an earlier run in `FILE`, text or JSON")
	s.StringVar(&f.plot, "plot", "", "draw the roofline into a PNG `FILE`")
}

// workFlag adds --work.
func (f *kernelFlags) workFlag(s *pflag.FlagSet) {
	cli.Choice(s, &f.work, "work", "all", "measure the kernels of `WORK`", append(slices.Clone(train.WorkKinds), "all")...)
}

func (f *kernelFlags) check() error {
	switch {
	case f.count < 1 || f.count > 1000:
		return usage.Errorf("--count is %d, want 1 to 1000", f.count)
	case f.caseTime <= 0 || f.limit < 0:
		return usage.Errorf("--case-time must be above 0, --time-limit 0 or above")
	}
	return nil
}

// Without a preset the run ends within 30 seconds on a software device.
const (
	smallLimit         = 24 * time.Second
	smallCaseTime      = 60 * time.Millisecond // for all samples of a case
	smallSamplingLimit = 200 * time.Millisecond
	caseTime           = 600 * time.Millisecond
	smallTokens        = 208

	// Elements of the conformance cases that represent kernels which the work does not
	// use.
	smallElements = 1 << 15
	elements      = 1 << 23
)

// kernels measures every kernel at the shapes of a preset's work. Without a preset it
// measures square matmuls and a small step of shapes.
func (f *options) kernels(ctx context.Context, a *cli.App) error {
	if err := f.kernelFlags.check(); err != nil {
		return err
	}
	old, err := f.earlier()
	if err != nil {
		return err
	}
	start := time.Now()
	small := f.preset == ""
	o := kernelbench.Options{Samples: f.count, Time: caseTime, MaxCallTime: f.caseTime}
	if small {
		o.Time, o.SamplingLimit = smallCaseTime, smallSamplingLimit
		f.limit = cmp.Or(f.limit, smallLimit)
		f.tokens = cmp.Or(f.tokens, smallTokens)
	}
	r, dev, err := f.open(a)
	if err != nil {
		return err
	}
	defer dev.Close()
	cases, err := f.cases(r, small, dev.Info())
	if err != nil {
		return err
	}
	if len(cases) == 0 {
		return usage.Errorf("--filter %q matches no kernel's case", f.filter)
	}
	run := &kernelRun{App: a, info: dev.Info(), old: old, every: f.variants}
	if run.bench, err = kernelbench.New(ctx, dev, o); err != nil {
		return err
	}
	defer run.bench.Free()
	for i, c := range everyKernelFirst(cases) {
		measure := func(c *kernelbench.Case) error { return run.measure(ctx, c, f.limit, start) }
		var err error
		if f.variants {
			err = kernelbench.EachVariant(dev, c, measure)
		} else {
			err = measure(c)
		}
		if err != nil && ctx.Err() != nil { // print the cases measured so far
			return errors.Join(ctx.Err(), run.print())
		}
		if err != nil {
			return err
		}
		a.Progress("%d of %d: %s/%s", i+1, len(cases), c.Kernel.Name, c.Name)
	}
	a.Progress("")
	slices.SortStableFunc(run.results, func(a, b measured) int { return byName(a.Case, b.Case) })
	if err := run.print(); err != nil {
		return err
	}
	if f.plot != "" {
		if err := plotRoofline(f.plot, run); err != nil {
			return err
		}
	}
	return run.failure()
}

// cases are the calls of the work, and conformance cases of kernels that the work does
// not use.
func (f *options) cases(r train.Recipe, small bool, info engine.Info) ([]*kernelbench.Case, error) {
	var all []*kernelbench.Case
	if small {
		all = kernelbench.Squares(f.storage.Type(), info.Hardware())
	}
	used, err := f.works(r, info.Kind)
	if err != nil {
		return nil, err
	}
	all = joined(all, used)
	if f.work == "all" {
		limit := int64(elements)
		if small {
			limit = smallElements
		}
		all = append(all, unused(all, limit)...)
	}
	all = slices.DeleteFunc(all, func(c *kernelbench.Case) bool { return !f.match.MatchString(c.Kernel.Name + "/" + c.Name) })
	return all, nil
}

// everyKernelFirst puts the costliest case of every kernel first, in case time runs out.
func everyKernelFirst(cases []*kernelbench.Case) []*kernelbench.Case {
	cases = slices.Clone(cases)
	slices.SortStableFunc(cases, byName)
	var first, others []*kernelbench.Case
	for i, c := range cases {
		if i == 0 || cases[i-1].Kernel != c.Kernel {
			first = append(first, c)
		} else {
			others = append(others, c)
		}
	}
	return append(first, others...)
}

// byName orders cases by kernel, the costliest first.
func byName(a, b *kernelbench.Case) int {
	return cmp.Or(cmp.Compare(a.Kernel.Name, b.Kernel.Name), cmp.Compare(b.Cost.Flops+b.Cost.Bytes, a.Cost.Flops+a.Cost.Bytes))
}

// joined adds cases to others; one that is already there is a part of both works.
func joined(all, more []*kernelbench.Case) []*kernelbench.Case {
	for _, c := range more {
		same := slices.IndexFunc(all, func(o *kernelbench.Case) bool { return o.Kernel == c.Kernel && o.Name == c.Name })
		if same < 0 {
			all = append(all, c)
			continue
		}
		all[same].Work += "+" + c.Work
	}
	return all
}

// unused are cases of the kernels that no case has yet.
func unused(all []*kernelbench.Case, elements int64) (more []*kernelbench.Case) {
	for _, k := range shaders.All() {
		if !slices.ContainsFunc(all, func(c *kernelbench.Case) bool { return c.Kernel == k }) {
			if c := kernelbench.FromConformance(k, elements); c != nil {
				more = append(more, c)
			}
		}
	}
	return more
}

// kernelRun is a run of bench kernels.
type kernelRun struct {
	*cli.App
	info    engine.Info
	bench   *kernelbench.Bench
	old     earlierRun
	every   bool // --variants
	results []measured
	wrong   int
}

// measured is a case with its result, or why there is none.
type measured struct {
	kernelbench.Result
	err error
}

func (r *kernelRun) measure(ctx context.Context, c *kernelbench.Case, limit time.Duration, start time.Time) error {
	if limit > 0 && time.Since(start) > limit {
		skip := &kernelbench.SkipError{Reason: fmt.Sprintf("not reached within --time-limit %v", limit)}
		r.results = append(r.results, measured{kernelbench.Result{Case: c}, skip})
		return nil
	}
	result, err := r.bench.Measure(ctx, c)
	var skip *kernelbench.SkipError
	var wrong *kernelbench.WrongError
	switch {
	case errors.As(err, &wrong):
		r.wrong++
	case err != nil && !errors.As(err, &skip):
		return fmt.Errorf("%s/%s: %w", c.Kernel.Name, c.Name, err)
	}
	result.Tuned = result.Tuned && !r.every
	r.results = append(r.results, measured{result, err})
	return nil
}

// failure is the run's error when results were wrong.
func (r *kernelRun) failure() error {
	if r.wrong > 0 {
		return fmt.Errorf("%d of %d cases differ from their references", r.wrong, len(r.results))
	}
	return nil
}

// works is the measured time of each kind of work.
func (r *kernelRun) works() map[string]float64 {
	total := map[string]float64{}
	for _, m := range r.results {
		if m.err == nil {
			total[firstWork(m.Work)] += m.Median().Seconds() * float64(m.Calls)
		}
	}
	return total
}

// firstWork is the work that a case's number of calls refers to.
func firstWork(work string) string {
	first, _, _ := strings.Cut(work, "+")
	return first
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1e3 }

func us(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1e3 }
