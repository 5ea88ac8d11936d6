// Command benchpage writes docs/benchmarks.md from what "vlmtool bench kernels
// --json" measured, one file a run, and from peers' figures:
//
//	benchpage [--peer NAME=FILE.jsonl]… [--note TEXT] RUN.jsonl… > docs/benchmarks.md
//
// A peer's file holds square products, which become a column beside ours, or what
// tools/benchpeer measured in turns, which becomes tables of its own.
//
// make bench-page runs all of it.
package main

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/pflag"
)

func main() {
	peers := pflag.StringArray("peer", nil, "NAME=FILE: square products of a peer, {\"bench\":\"matmul\",\"m\":…,\"ms\":…,\"ms_min\":…,\"tflops\":…} a line, or benchpeer's lines")
	note := pflag.String("note", "", "what to say of the machine and of what else it did")
	pflag.Parse()
	if err := write(os.Stdout, *peers, *note, pflag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "benchpage:", err)
		os.Exit(1)
	}
}

// line is what is read of bench kernels' lines.
type line struct {
	Kernel   string    `json:"kernel"`
	Case     string    `json:"case"`
	Work     string    `json:"work"`
	Device   string    `json:"device"`
	Skipped  string    `json:"skipped"`
	Wrong    string    `json:"wrong"`
	Variant  string    `json:"variant"`
	Tuned    bool      `json:"tuned"`
	Checked  string    `json:"checked"`
	Calls    int       `json:"calls_per_step"`
	US       float64   `json:"us"`
	USMin    float64   `json:"us_min"`
	Samples  []float64 `json:"samples_us"`
	GFLOPs   float64   `json:"gflops"`
	GBs      float64   `json:"gb_per_s"`
	Roofline float64   `json:"roofline"`
	Bound    string    `json:"bound"`
	PeakGF   float64   `json:"peak_gflops"`
}

// run is a file of them.
type run struct {
	name  string // of the file, without its ending
	lines []line
}

func write(w io.Writer, given []string, note string, files []string) error {
	var runs []run
	for _, f := range files {
		r, err := read(f)
		if err != nil {
			return err
		}
		runs = append(runs, r)
	}
	peers, err := readPeers(given)
	if err != nil {
		return err
	}
	fmt.Fprint(w, preface)
	if note != "" {
		fmt.Fprintf(w, "- The machine: %s\n", note)
	}
	fmt.Fprintln(w)
	writeSquares(w, runs, peers)
	for _, p := range peers {
		p.write(w)
	}
	for _, r := range runs {
		r.write(w)
	}
	return nil
}

func read(file string) (run, error) {
	r := run{name: strings.TrimSuffix(filepath.Base(file), ".jsonl")}
	err := eachLine(file, func(data []byte) error {
		var l line
		if err := json.Unmarshal(data, &l); err != nil {
			return err
		}
		if l.Kernel != "" {
			r.lines = append(r.lines, l)
		}
		return nil
	})
	if err == nil && len(r.lines) == 0 {
		err = fmt.Errorf("%s holds no results of vlmtool bench kernels --json", file)
	}
	return r, err
}

func eachLine(file string, f func(data []byte) error) error {
	data, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	lines := bufio.NewScanner(bytes.NewReader(data))
	lines.Buffer(nil, 1<<20)
	for n := 1; lines.Scan(); n++ {
		if err := f(lines.Bytes()); err != nil {
			return fmt.Errorf("%s:%d: %w", file, n, err)
		}
	}
	return lines.Err()
}

// writeSquares puts square products beside the peers'.
func writeSquares(w io.Writer, runs []run, peers []peer) {
	sizes := []int{256, 512, 1024}
	columns := map[string]map[int]float64{}
	var names []string
	for _, r := range runs {
		for _, l := range r.lines {
			for _, n := range sizes {
				if l.Kernel != "matmul" || l.Case != fmt.Sprintf("m=%d/k=%d/n=%d/batch=1", n, n, n) || l.US == 0 {
					continue
				}
				if columns[l.Device] == nil {
					columns[l.Device], names = map[int]float64{}, append(names, l.Device)
				}
				columns[l.Device][n] = l.GFLOPs * l.US / l.USMin
			}
		}
	}
	if len(names) == 0 {
		return
	}
	for _, p := range peers {
		if len(p.squares) > 0 {
			columns[p.name], names = p.squares, append(names, p.name)
		}
	}
	fmt.Fprintf(w, "## Square products, 32-bit floats, GFLOP/s of the fastest run\n\n| size | %s |\n|%s\n", strings.Join(names, " | "), strings.Repeat("---|", 1+len(names)))
	for _, n := range sizes {
		fmt.Fprintf(w, "| %d³ |", n)
		for _, name := range names {
			fmt.Fprintf(w, " %s |", figure(columns[name][n]))
		}
		fmt.Fprintln(w)
	}
	fmt.Fprintln(w)
}

// figure is a rate to three digits, – for none.
func figure(x float64) string {
	switch {
	case x == 0:
		return "–"
	case x < 0.095:
		return fmt.Sprintf("%.2g", x)
	case x < 10:
		return fmt.Sprintf("%.2f", x)
	}
	return fmt.Sprintf("%.0f", x)
}

// write writes a run's table: a line a kernel, its costliest case, and its part of
// the time of the run's training step.
func (r run) write(w io.Writer) {
	total, spent := 0.0, map[string]float64{}
	for _, l := range r.lines {
		if strings.HasPrefix(l.Work, "train") {
			total += float64(l.Calls) * l.USMin
			spent[l.Kernel] += float64(l.Calls) * l.USMin
		}
	}
	fmt.Fprintf(w, "## %s on %s\n\n", r.preset(), r.lines[0].Device)
	if picture := "roofline-" + r.device() + ".png"; r.preset() == "shapes" {
		fmt.Fprintf(w, "![Every kernel under the measured roofs](%s)\n\n", picture)
	}
	fmt.Fprint(w, "| kernel | costliest case | variant | µs, median | µs, least | GFLOP/s | GB/s | of its roofline | of the training step | checked |\n|---|---|---|---|---|---|---|---|---|---|\n")
	rest := slices.Clone(r.lines)
	slices.SortStableFunc(rest, func(a, b line) int {
		return cmp.Or(cmp.Compare(spent[b.Kernel], spent[a.Kernel]), cmp.Compare(a.Kernel, b.Kernel), cmp.Compare(float64(b.Calls)*b.USMin, float64(a.Calls)*a.USMin))
	})
	skipped, written := 0, map[string]bool{}
	for _, l := range rest {
		if l.Skipped != "" {
			skipped++
		}
		if written[l.Kernel] || l.US == 0 {
			continue
		}
		written[l.Kernel] = true
		share, best := "–", l.US/l.USMin
		if spent[l.Kernel] > 0 {
			share = fmt.Sprintf("%.1f %%", 100*spent[l.Kernel]/total)
		}
		fmt.Fprintf(w, "| %s | %s | %s | %.1f | %.1f | %s | %s | %.0f %%, %s | %s | %s |\n", l.Kernel, strings.ReplaceAll(l.Case, "/", " "), cmp.Or(l.Variant, "plain"),
			l.US, l.USMin, figure(best*l.GFLOPs), figure(best*l.GBs), 100*l.Roofline, l.Bound, share, l.Checked)
	}
	fmt.Fprintf(w, "\n%d cases, of which %d were left out for their time or for want of it", len(r.lines), skipped)
	if worst := r.spread(); worst > 0 {
		fmt.Fprintf(w, "; in the middle of all cases the median took %.1f times the least", worst)
	}
	fmt.Fprint(w, ".\n\n")
}

// spread is the median over the cases of how their median compares with their least.
func (r run) spread() float64 {
	var ratios []float64
	for _, l := range r.lines {
		if l.USMin > 0 {
			ratios = append(ratios, l.US/l.USMin)
		}
	}
	if len(ratios) == 0 {
		return 0
	}
	slices.Sort(ratios)
	return ratios[len(ratios)/2]
}

// device and preset are the parts of the file's name: "shapes-cpu".
func (r run) device() string { return r.name[strings.LastIndex(r.name, "-")+1:] }
func (r run) preset() string { return strings.TrimSuffix(r.name, "-"+r.device()) }

const preface = `<!-- Written by tools/docs/benchpage: make bench-page. -->
# How fast the kernels are

Every figure here is of one run of each command on one machine, by

` + "```" + `
make bench-page
` + "```" + `

- Every kernel runs at the shapes of a training step, of a prompt and of a token, alone and in buffers of its own, after a check against its float64 reference: at the same shape where the reference can compute that in a fraction of a second, else at a conformance case that runs the same variant.
- Times are the device's own (time stamps on Vulkan). Rates, the part of the roofline and that of the training step are of the fastest run, as the roofs are of theirs; what disturbs a machine shows in the median.
- The roofs are measured in the same run: multiply-adds in registers, and copies of seven working sets from 64 KiB to 256 MiB. A call is held to the copy of at least its own bytes. What is bound by neither is bound by the launch of a call.
- Where a peer's figures stand in turns with ours, both were measured case by case, one after the other, and the least time of each counts. A peer's time is the host's, from the call to its end.
- More than 100 % happens: what only reads moves more bytes a second than a copy, and a roof that was disturbed all through the run is too low.
- Each table ends with how far medians and least times lay apart, which says how quiet the machine was. Compare figures within a table.
`
