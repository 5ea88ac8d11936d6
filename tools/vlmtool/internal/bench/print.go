package bench

import (
	"errors"
	"fmt"
	"io"

	"patchwork/engine"
	"patchwork/engine/kernelbench"
)

// kernelLine is bench kernels' line of JSON.
type kernelLine struct {
	Bench    string    `json:"bench"`
	Kernel   string    `json:"kernel"`
	Case     string    `json:"case"`
	Work     string    `json:"work"` // "train+prefill" is part of both; calls are those of the first
	Device   string    `json:"device"`
	Skipped  string    `json:"skipped,omitempty"` // why it was not measured
	Wrong    string    `json:"wrong,omitempty"`   // the difference from the reference
	Class    string    `json:"class,omitempty"`   // of the device, by which variants are chosen
	Variant  string    `json:"variant"`
	Tuned    bool      `json:"tuned"`
	Checked  string    `json:"checked,omitempty"` // "shape", "variant", "conformance", "none"
	Runs     int       `json:"runs,omitempty"`    // a sample
	Calls    int       `json:"calls_per_step"`
	US       float64   `json:"us"` // median of the samples
	USMin    float64   `json:"us_min"`
	Samples  []float64 `json:"samples_us,omitempty"`
	GFLOPs   float64   `json:"gflops"`
	GBs      float64   `json:"gb_per_s"`
	Roofline float64   `json:"roofline"`        // fraction of the roofline, of the fastest run
	Bound    string    `json:"bound,omitempty"` // "compute", "memory", "launch"
	PeakGF   float64   `json:"peak_gflops"`     // of the device, measured in this run
	PeakGBs  float64   `json:"peak_gb_per_s"`   // at this working set
	Share    float64   `json:"share"`           // of the work's time
	Old      *change   `json:"compared,omitempty"`
}

// name is the case's name in benchmark lines.
func (l *kernelLine) name() string { return "Kernel/" + l.Kernel + "/" + l.Case }

func (r *kernelRun) line(m measured, total map[string]float64) kernelLine {
	l := kernelLine{Bench: "kernel", Kernel: m.Kernel.Name, Case: m.Name, Work: m.Work, Device: r.info.Device,
		Class: m.Class, Variant: m.Variant, Tuned: m.Tuned, Checked: m.Checked, Calls: m.Calls, Runs: m.Runs}
	if m.err != nil {
		if skip := (*kernelbench.SkipError)(nil); errors.As(m.err, &skip) {
			l.Skipped = skip.Reason
		} else {
			l.Wrong = m.err.Error()
		}
		return l
	}
	median := m.Median()
	s := median.Seconds()
	l.US, l.USMin = us(median), us(m.Min)
	for _, t := range m.Samples {
		l.Samples = append(l.Samples, us(t))
	}
	l.GFLOPs, l.GBs = m.Cost.Flops/s/1e9, m.Cost.Bytes/s/1e9
	roof := r.bench.Roof()
	l.Roofline, l.Bound = roof.Fraction(m.Cost, m.Min.Seconds())
	l.PeakGF, l.PeakGBs = roof.Flops/1e9, roof.Bandwidth(m.Cost.Bytes)/1e9
	l.Share = s * float64(m.Calls) / total[firstWork(m.Work)]
	return l
}

// print writes all results as benchmark lines or JSON.
func (r *kernelRun) print() error {
	total := r.works()
	var lines []kernelLine
	for _, m := range r.results {
		lines = append(lines, r.line(m, total))
	}
	if !r.JSON {
		printHeader(r.App, r.info)
		r.printRoof()
		for i := range lines {
			printLines(r.Stdout, &lines[i])
		}
	}
	changes, mean := r.old.compare(lines)
	if !r.JSON {
		if r.old != nil {
			printChanges(r.Stdout, changes, mean)
		}
		return nil
	}
	for i := range lines {
		lines[i].Old = changes[lines[i].name()]
		if err := r.Result(lines[i]); err != nil {
			return err
		}
	}
	if r.old != nil {
		return r.Result(mean)
	}
	return nil
}

func (r *kernelRun) printRoof() {
	w, roof := r.Stdout, r.bench.Roof()
	fmt.Fprintf(w, "Unit GFLOP/s better=higher\nUnit GB/s better=higher\nUnit %%roofline better=higher\nUnit %%work assume=nothing\n")
	fmt.Fprintf(w, "# roofs, measured in this run: %.1f GFLOP/s; ", roof.Flops/1e9)
	for _, l := range roof.Levels {
		fmt.Fprintf(w, "%.1f GB/s at %s, ", l.PerSecond/1e9, engine.Bytes(l.Bytes))
	}
	fmt.Fprintf(w, "%.1f µs a launch\n", us(roof.Launch))
	if roof.Noise > 0.2 {
		fmt.Fprintf(w, "# the machine was busy: a kernel that measures the roofline took %.1f times its minimum on average\n", 1+roof.Noise)
	}
}

// printLines writes a comment on the case and a benchmark line for every sample.
func printLines(w io.Writer, l *kernelLine) {
	fmt.Fprintf(w, "\n# %s/%s (%s, %d calls)", l.Kernel, l.Case, l.Work, l.Calls)
	switch {
	case l.Skipped != "":
		fmt.Fprintf(w, " skipped: %s\n", l.Skipped)
		return
	case l.Wrong != "":
		fmt.Fprintf(w, " %s\n", l.Wrong)
		return
	case l.Class != "cpu":
		variant := l.Variant
		if variant == "" {
			variant = "plain"
		}
		if l.Tuned {
			variant += ", tuned"
		}
		fmt.Fprintf(w, " variant %s of class %s,", variant, l.Class)
	}
	fmt.Fprintf(w, " checked: %s; %.0f %% of its roofline (%s-bound), min %.1f µs\n", l.Checked, 100*l.Roofline, l.Bound, l.USMin)
	for _, t := range l.Samples {
		ratio := l.US / t
		fmt.Fprintf(w, "Benchmark%s %d %.0f ns/op %.2f GFLOP/s %.2f GB/s %.1f %%roofline %.2f %%work\n",
			l.name(), l.Runs, 1e3*t, ratio*l.GFLOPs, ratio*l.GBs, 100*l.Roofline, 100*l.Share)
	}
}
