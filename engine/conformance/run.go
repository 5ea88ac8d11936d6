package conformance

import (
	"context"
	"fmt"
	"regexp"

	"patchwork/engine"
	"patchwork/shaders"
)

// Result is the result of a case in one variant.
type Result struct {
	Kernel  string
	Variant string // "plain" where it has no name
	Case    string
	Worst   float64 // the largest error of an element, relative to its tolerance
	Err     error   // nil where the case passed
	Known   string  // the reason of a declared failure
}

// Status is how a result counts.
type Status string

// Statuses of a result.
const (
	Passed Status = "passed"
	Failed Status = "failed"
	XFail  Status = "xfail" // it fails as declared
	XPass  Status = "xpass" // it is declared to fail, but passes
)

// Status is how the result counts.
func (r Result) Status() Status {
	switch {
	case r.Err == nil && r.Known == "":
		return Passed
	case r.Err == nil:
		return XPass
	case r.Known != "":
		return XFail
	}
	return Failed
}

// Try checks a case in one variant, with the known failures.
func Try(ctx context.Context, dev engine.Device, k *shaders.Kernel, v Variant, c Prepared) Result {
	return try(ctx, KnownFailures, dev, k, v, c)
}

func try(ctx context.Context, failures []Known, dev engine.Device, k *shaders.Kernel, v Variant, c Prepared) Result {
	r := Result{Kernel: k.Name, Variant: v.Label(), Case: c.Name}
	v.With(dev, func() { r.Worst, r.Err = Check(ctx, dev, k, c) })
	r.expect(known(failures, dev.Info(), k, c.Case))
	return r
}

// Options restrict Run.
type Options struct {
	Kernels *regexp.Regexp // nil for all
	Short   bool           // without cases that are large or take long
}

// Run checks every case of every kernel, in every variant that the device can run, and
// calls each with each result. It stops when the context is cancelled.
func Run(ctx context.Context, dev engine.Device, o Options, each func(Result)) error {
	for _, k := range shaders.All() {
		if o.Kernels != nil && !o.Kernels.MatchString(k.Name) {
			continue
		}
		for _, c := range Cases(k) {
			if o.Short && (Large(c) || c.Long) {
				continue
			}
			variants := VariantsOf(dev, k, c)
			if len(variants) == 0 {
				each(Result{Kernel: k.Name, Variant: "none", Case: c.Name, Err: fmt.Errorf("no variant for %+v: %w", c.Params, engine.ErrUnsupported)})
				continue
			}
			prepared := Prepare(k, c)
			for _, v := range variants {
				if err := ctx.Err(); err != nil {
					return err
				}
				each(Try(ctx, dev, k, v, prepared))
			}
		}
	}
	return ctx.Err()
}
