// Command benchpage writes docs/benchmarks.md from the output of "vlmtool bench kernels
// --json", one file per run, and from peers' measurements:
//
//	benchpage [--peer NAME=FILE.jsonl]… [--note TEXT] RUN.jsonl… > docs/benchmarks.md
//
// A peer's file has square matmuls, which become a column beside ours, or interleaved
// measurements of tools/benchpeer, which become separate tables.
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
	peers := pflag.StringArray("peer", nil, "NAME=FILE: square matmuls of a peer, {\"bench\":\"matmul\",\"m\":…,\"ms\":…,\"ms_min\":…,\"tflops\":…} per line, or benchpeer's lines")
	note := pflag.String("note", "", "a note on the machine and its load")
	pflag.Parse()
	if err := write(os.Stdout, *peers, *note, pflag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "benchpage:", err)
		os.Exit(1)
	}
}

// line has the fields of bench kernels' lines that the page uses.
type line struct {
	Kernel   string  `json:"kernel"`
	Case     string  `json:"case"`
	Work     string  `json:"work"`
	Device   string  `json:"device"`
	Skipped  string  `json:"skipped"`
	Variant  string  `json:"variant"`
	Checked  string  `json:"checked"`
	Calls    int     `json:"calls_per_step"`
	US       float64 `json:"us"`
	USMin    float64 `json:"us_min"`
	GFLOPs   float64 `json:"gflops"`
	GBs      float64 `json:"gb_per_s"`
	Roofline float64 `json:"roofline"`
	Bound    string  `json:"bound"`
}

// run is a file of lines.
type run struct {
	name  string // of the file, without extension
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
		err = fmt.Errorf("%s has no results of vlmtool bench kernels --json", file)
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

// writeSquares writes the table of square matmuls, ours and the peers'.
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
	fmt.Fprintf(w, "## Square matmuls, 32-bit floats, GFLOP/s of the fastest run\n\n| size | %s |\n|%s\n", strings.Join(names, " | "), strings.Repeat("---|", 1+len(names)))
	for _, n := range sizes {
		fmt.Fprintf(w, "| %d³ |", n)
		for _, name := range names {
			fmt.Fprintf(w, " %s |", figure(columns[name][n]))
		}
		fmt.Fprintln(w)
	}
	fmt.Fprintln(w)
}

// figure formats a rate with three digits; 0 is –.
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

// write writes a run's table: a line per kernel with its costliest case and its share of
// the training step.
func (r run) write(w io.Writer) {
	total, spent := 0.0, map[string]float64{}
	for _, l := range r.lines {
		if strings.HasPrefix(l.Work, "train") {
			total += float64(l.Calls) * l.USMin
			spent[l.Kernel] += float64(l.Calls) * l.USMin
		}
	}
	fmt.Fprintf(w, "## %s on %s\n\n", r.preset(), r.lines[0].Device)
	if plot := "roofline-" + r.device() + ".png"; r.preset() == "shapes" {
		fmt.Fprintf(w, "![Every kernel under the measured roofs](%s)\n\n", plot)
	}
	fmt.Fprint(w, "| kernel | costliest case | variant | µs, median | µs, min | GFLOP/s | GB/s | of its roofline | of the training step | checked |\n|---|---|---|---|---|---|---|---|---|---|\n")
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
	fmt.Fprintf(w, "\n%d cases, of which %d were skipped for lack of time", len(r.lines), skipped)
	if spread := r.spread(); spread > 0 {
		fmt.Fprintf(w, "; the median over all cases of median/min is %.1f", spread)
	}
	fmt.Fprint(w, ".\n\n")
}

// spread is the median over the cases of the ratio of median to minimum.
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

All figures are from one run of each command on one machine:

` + "```" + `
make bench-page
` + "```" + `

- Every kernel runs alone, at the shapes of a training step, a prompt and a token, after a check against its float64 reference: at the same shape if the reference takes less than a second, else at a conformance case that runs the same variant.
- Times are from the device's clock (timestamps on Vulkan). Rates and fractions are of the fastest run, as are the roofs; other load on the machine shows in the median.
- The roofs are measured in the same run: multiply-adds in registers, and copies of seven working sets from 64 KiB to 256 MiB. A call is compared with the copy of at least its own bytes. A call that is bound by neither is bound by its launch.
- Measurements interleaved with a peer's alternate case by case, and the minimum of each counts. A peer's time is the host's, from the call to its end.
- More than 100 % is possible: a kernel that only reads moves more bytes a second than a copy, and a roof that was disturbed during the whole run is too low.
- Each table ends with the ratio of medians to minima, which shows the load on the machine. Compare figures within a table.
`
