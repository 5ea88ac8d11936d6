// Package conformance compares every kernel, on any device and in every variant, with its
// float64 reference, for the cases that the kernel declares and for cases with special
// values derived from them. Package enginetest runs it as a test, tools/conformance
// prints it as a table, and package mutation plants errors for it to find.
package conformance

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"

	"patchwork/engine"
	"patchwork/engine/kernelcheck"
	"patchwork/shaders"
)

// Prepared is a case with its contents and expected results.
type Prepared struct {
	shaders.Case
	Relative bool // Atol is relative to the largest expected value of a binding
	contents [][]uint32
	want     []shaders.Array
	flushed  []shaders.Array // of inputs whose denormals count as 0; nil: they do not
}

// Prepare fills a case's bindings and runs the reference.
func Prepare(k *shaders.Kernel, c shaders.Case) Prepared {
	contents := kernelcheck.Fill(k, c)
	p := Prepared{Case: c, contents: contents, want: kernelcheck.Reference(k, c, contents)}
	if c.DenormalsMayFlush {
		p.flushed = kernelcheck.Reference(k, c, flush(k, contents))
	}
	return p
}

// flush replaces the denormal values of float bindings by 0.
func flush(k *shaders.Kernel, contents [][]uint32) [][]uint32 {
	flushed := make([][]uint32, len(contents))
	for i, words := range contents {
		flushed[i] = slices.Clone(words)
		for j, w := range words {
			if k.Bindings[i].Type == shaders.F32 && math.Abs(float64(math.Float32frombits(w))) < smallestNormal {
				flushed[i][j] = 0
			}
		}
	}
	return flushed
}

// Check runs one call and compares it with its reference. worst is the largest error of
// an element relative to its tolerance; err lists the bindings that are wrong, and where.
func Check(ctx context.Context, dev engine.Device, k *shaders.Kernel, c Prepared) (worst float64, err error) {
	return CheckWithin(ctx, dev, k, c, 0)
}

// CheckWithin is Check with the call divided to bind at most limit bytes of a buffer; 0 =
// no limit.
func CheckWithin(ctx context.Context, dev engine.Device, k *shaders.Kernel, c Prepared, limit int64) (worst float64, err error) {
	call, err := NewCall(dev, k, c.Case, c.contents, limit)
	if err != nil {
		return 0, err
	}
	defer call.Free()
	if err := call.Run(ctx, c.Step); err != nil {
		return 0, err
	}
	variant, _ := dev.Info().Choose(k, c.Params, c.Storage)
	tolerated := kernelcheck.ForVariant(variant, c.Case)
	got := make([][]uint32, len(c.Inputs))
	var outside []error
	for i, in := range c.Inputs {
		if in.Absent {
			continue
		}
		var intact bool
		if got[i], intact, err = call.Read(i); err != nil {
			return 0, err
		}
		if !intact {
			outside = append(outside, fmt.Errorf("binding %s: wrote outside its bounds", k.Bindings[i].Name))
		}
	}
	if intact, err := call.ScratchIntact(); err != nil {
		return 0, err
	} else if !intact {
		outside = append(outside, errors.New("wrote past the end of its scratch"))
	}
	worst, wrong := c.compare(k, tolerated, got, c.want)
	if len(wrong) > 0 && c.flushed != nil {
		if w, other := c.compare(k, tolerated, got, c.flushed); len(other) == 0 {
			worst, wrong = w, nil
		}
	}
	if wrong = append(outside, wrong...); len(wrong) > 0 {
		return worst, &MismatchError{errors.Join(wrong...)}
	}
	return worst, nil
}

// compare compares the contents of the bindings after the call with what is expected.
func (c Prepared) compare(k *shaders.Kernel, tolerated shaders.Case, got [][]uint32, want []shaders.Array) (worst float64, wrong []error) {
	for i, in := range c.Inputs {
		if in.Absent {
			continue
		}
		tolerance := tolerated
		if c.Relative {
			tolerance.Atol *= largest(want[i].F)
		}
		e, err := kernelcheck.Compare(k, i, tolerance, got[i], c.contents[i], want[i])
		if err != nil {
			wrong = append(wrong, fmt.Errorf("binding %s: %w", k.Bindings[i].Name, err))
		}
		worst = max(worst, e)
	}
	return worst, wrong
}

// MismatchError reports where a kernel's results differ from the reference's.
type MismatchError struct{ err error }

func (e *MismatchError) Error() string { return e.err.Error() }

// Large reports whether a case has a million elements or more in one binding.
func Large(c shaders.Case) bool { return c.Elements() >= 1<<20 }

// largest is the largest finite magnitude.
func largest(x []float64) (largest float64) {
	for _, v := range x {
		if a := math.Abs(v); !math.IsInf(a, 0) && !math.IsNaN(a) {
			largest = max(largest, a)
		}
	}
	return largest
}
