package engine

import (
	"context"
	"fmt"
	"math"

	"patchwork/shaders"
)

// NonFinite describes the first dispatch of a program whose results are not all finite.
type NonFinite struct {
	Label   string // of the dispatch, as recorded
	Kernel  string
	Binding string
	Buffer  string // that it was written to
	Bad, Of int    // elements
}

func (f NonFinite) String() string {
	return fmt.Sprintf("%s, kernel %s: %d of %d values of %s (%s) are infinite or NaN", f.Label, f.Kernel, f.Bad, f.Of, f.Binding, f.Buffer)
}

// FindNonFinite runs a program with all temporaries kept, and returns the first dispatch
// whose results are not all finite; nil when all are. It plans the program's buffers
// again: no executable of the program may be in use.
func FindNonFinite(ctx context.Context, dev Device, p *Program, step *[shaders.StepWords]uint32) (*NonFinite, error) {
	for _, b := range p.temps {
		b.keep = true
	}
	plan, err := NewPlan(p, dev.Info().Limits.MaxBufferBytes)
	if err != nil {
		return nil, err
	}
	exe, err := dev.Compile(plan, nil)
	if err != nil {
		return nil, err
	}
	defer exe.Free()
	if err := exe.Run(ctx, step); err != nil {
		return nil, err
	}
	for i := range plan.Dispatches {
		if f, err := nonFiniteOutput(dev, exe, &plan.Dispatches[i]); f != nil || err != nil {
			return f, err
		}
	}
	return nil, nil
}

// nonFiniteOutput checks the outputs of a dispatch.
func nonFiniteOutput(dev Device, exe Executable, d *Dispatch) (*NonFinite, error) {
	for i, v := range d.Views {
		b := d.Kernel.Bindings[i]
		if v.Buffer == nil || b.Access == shaders.Read || b.Type != shaders.F32 || b.Scratch {
			continue
		}
		bad, n, err := countNonFinite(dev, exe, v)
		if err != nil {
			return nil, err
		}
		if bad > 0 {
			return &NonFinite{d.Label, d.Kernel.Name, b.Name, v.Buffer.Label, bad, n}, nil
		}
	}
	return nil, nil
}

// nonFiniteChunk is the number of elements checked at a time.
const nonFiniteChunk = 1 << 20

func countNonFinite(dev Device, exe Executable, v View) (bad, n int, err error) {
	size := v.Buffer.Type.Size()
	download := func(v View, values []float32) error { return DownloadFloats(dev, v, values) }
	if v.Buffer.temp {
		download = func(v View, values []float32) error { return DownloadTempFloats(dev, exe, v, values) }
	}
	n = int(v.Bytes / size)
	values := make([]float32, min(n, nonFiniteChunk))
	for at := 0; at < n; at += len(values) {
		part := values[:min(len(values), n-at)]
		if err := download(v.Slice(size*int64(at), size*int64(len(part))), part); err != nil {
			return 0, 0, err
		}
		for _, x := range part {
			if math.IsNaN(float64(x)) || math.IsInf(float64(x), 0) {
				bad++
			}
		}
	}
	return bad, n, nil
}
