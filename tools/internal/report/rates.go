package report

import (
	"fmt"
	"io/fs"
	"path"
	"strings"
)

// Work is a training step's, in floating-point operations.
type Work struct {
	Preset, DType string
	Flops         float64
	Attention     float64 // of them, in attention and its gradient
}

// Rate is how fast a device is expected to do a work.
type Rate struct {
	PerSecond float64
	Source    string // what was measured, and on what
}

// Find returns the newest report of a device whose name holds the given one, in
// folders of a file system, and where it lies; nil where there is none.
func Find(files fs.FS, dir, device string) (found *Report, name string, err error) {
	paths, err := fs.Glob(files, path.Join(dir, "*", "report.json"))
	if err != nil {
		return nil, "", err
	}
	for _, p := range paths {
		r, err := Read(files, p)
		if err != nil {
			return nil, "", err
		}
		if strings.Contains(r.Device.Name, device) && (found == nil || r.Date >= found.Date) {
			found, name = r, path.Base(path.Dir(p))
		}
	}
	return found, name, nil
}

// Rate is taken from the step of the same preset in the same type; else from
// products and attention alone, which leaves the other kernels out; else, and for
// ok false, there is none.
func (r *Report) Rate(w Work) (rate Rate, ok bool) {
	on := fmt.Sprintf(" on %s, %s", r.Device.Name, r.Date)
	if t := find(r.Train, func(t Train) bool { return t.Preset == w.Preset && t.DType == w.DType && t.GFLOPs > 0 }); t != nil {
		return Rate{1e9 * t.GFLOPs, fmt.Sprintf("measured: its step of %d×%d tokens in %s%s", t.BatchSize, t.SeqLen, w.DType, on)}, true
	}
	product := r.largest(w.DType, func(p Product) bool { return p.Kernel == "matmul" })
	forward := r.largest(w.DType, func(p Product) bool { return p.Kernel == "attention" && p.from(w.Preset) })
	backward := r.largest(w.DType, func(p Product) bool { return p.Kernel == "attention_backward" && p.from(w.Preset) })
	if product == 0 || w.Attention > 0 && (forward == 0 || backward == 0) {
		return Rate{}, false
	}
	seconds := (w.Flops - w.Attention) / product
	if w.Attention > 0 { // two products forward, five backward
		seconds += w.Attention * (2/forward + 5/backward) / 7
	}
	return Rate{w.Flops / seconds, "at most, measured: products and attention in " + w.DType + " without the other kernels" + on}, true
}

// from says whether a case has the heads of a preset.
func (p Product) from(preset string) bool { return p.Work == preset+" attention" }

// largest is the rate of the largest product or the longest attention, which come
// last in their type, in operations a second.
func (r *Report) largest(dtype string, fits func(Product) bool) (perSecond float64) {
	for _, p := range r.Products {
		if p.DType == dtype && p.GFLOPs > 0 && fits(p) {
			perSecond = 1e9 * p.GFLOPs
		}
	}
	return perSecond
}
