package report

import (
	"fmt"
	"io/fs"
	"path"
	"strings"
)

// Work is the work of a training step in floating-point operations.
type Work struct {
	Preset, DType string
	Flops         float64
	Attention     float64 // in attention and its gradient, included in Flops
}

// Rate is the expected rate of a device.
type Rate struct {
	PerSecond float64
	Source    string // the measurement and its device
}

// Find returns the newest report of a device whose name contains the given one, and the
// name of its folder; nil where there is none.
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

// Rate is that of the step of the same preset and type, else of matmuls and attention
// without the other kernels; else ok is false.
func (r *Report) Rate(w Work) (rate Rate, ok bool) {
	on := fmt.Sprintf(" on %s, %s", r.Device.Name, r.Date)
	if t := find(r.Train, func(t Train) bool { return t.Preset == w.Preset && t.DType == w.DType && t.GFLOPs > 0 }); t != nil {
		return Rate{1e9 * t.GFLOPs, fmt.Sprintf("measured: its step of %d×%d tokens in %s%s", t.BatchSize, t.SeqLen, w.DType, on)}, true
	}
	matmul := r.largest(w.DType, func(p PeerCase) bool { return p.Kernel == "matmul" })
	forward := r.largest(w.DType, func(p PeerCase) bool { return p.Kernel == "attention" && p.from(w.Preset) })
	backward := r.largest(w.DType, func(p PeerCase) bool { return p.Kernel == "attention_backward" && p.from(w.Preset) })
	if matmul == 0 || w.Attention > 0 && (forward == 0 || backward == 0) {
		return Rate{}, false
	}
	seconds := (w.Flops - w.Attention) / matmul
	if w.Attention > 0 { // two matmuls forward, five backward
		seconds += w.Attention * (2/forward + 5/backward) / 7
	}
	return Rate{w.Flops / seconds, "at most, measured: matmuls and attention in " + w.DType + " without the other kernels" + on}, true
}

// from reports whether a case is the attention of a preset.
func (p PeerCase) from(preset string) bool { return p.Work == preset+" attention" }

// largest is the rate in operations per second of the largest matmul or the longest
// attention of a type, which come last.
func (r *Report) largest(dtype string, fits func(PeerCase) bool) (perSecond float64) {
	for _, p := range r.PeerCases {
		if p.DType == dtype && p.GFLOPs > 0 && fits(p) {
			perSecond = 1e9 * p.GFLOPs
		}
	}
	return perSecond
}
