package bench

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"

	"golang.org/x/perf/benchfmt"
	"golang.org/x/perf/benchmath"

	"patchwork/internal/smallfile"
	"patchwork/tools/vlmtool/internal/usage"
)

// earlierRun has every sample of an earlier run in nanoseconds, by case; nil without
// --compare. They are whole numbers, so that ties of the clock stay ties.
type earlierRun map[string][]float64

// change compares a case with an earlier run: medians, and the p-value of the
// Mann-Whitney U test that benchstat uses.
type change struct {
	OldUS       float64 `json:"old_us"`
	NewUS       float64 `json:"new_us"`
	Ratio       float64 `json:"ratio"` // new / old; below 1 is faster
	P           float64 `json:"p"`
	Significant bool    `json:"significant"` // p below 0.05
	shown       string  // in benchstat's format
}

// meanChange is the last line of JSON of a comparison.
type meanChange struct {
	Bench   string  `json:"bench"`
	Cases   int     `json:"cases"`
	Ratio   float64 `json:"ratio"` // geometric mean of all cases; 0 without cases
	OnlyOld int     `json:"only_old"`
	OnlyNew int     `json:"only_new"`
}

// earlier reads the run of --compare.
func (f *kernelFlags) earlier() (earlierRun, error) {
	if f.compare == "" {
		return nil, nil
	}
	data, err := smallfile.Read(f.compare, smallfile.Log)
	if err != nil {
		return nil, usage.Errorf("--compare: %v", err)
	}
	run, err := readRun(data)
	if err != nil {
		return nil, usage.Errorf("--compare %s: %v", f.compare, err)
	}
	if len(run) == 0 {
		return nil, usage.Errorf("--compare %s: no results of bench kernels found", f.compare)
	}
	return run, nil
}

// readRun reads bench kernels' output, in either form.
func readRun(data []byte) (earlierRun, error) {
	if bytes.HasPrefix(bytes.TrimSpace(data), []byte("{")) {
		return readRunJSON(data)
	}
	run := earlierRun{}
	reader := benchfmt.NewReader(bytes.NewReader(data), "run")
	for reader.Scan() {
		switch record := reader.Result().(type) {
		case *benchfmt.SyntaxError:
			return nil, record
		case *benchfmt.Result:
			if seconds, ok := record.Value("sec/op"); ok && seconds > 0 {
				name := string(record.Name.Full())
				run[name] = append(run[name], math.Round(1e9*seconds))
			}
		}
	}
	return run, reader.Err()
}

func readRunJSON(data []byte) (earlierRun, error) {
	run := earlierRun{}
	lines := bufio.NewScanner(bytes.NewReader(data))
	lines.Buffer(nil, 1<<20)
	for number := 1; lines.Scan(); number++ {
		if len(bytes.TrimSpace(lines.Bytes())) == 0 {
			continue
		}
		var l kernelLine
		if err := json.Unmarshal(lines.Bytes(), &l); err != nil {
			return nil, fmt.Errorf("line %d: %v", number, err)
		}
		for _, t := range l.Samples {
			run[l.name()] = append(run[l.name()], math.Round(1e3*t))
		}
	}
	return run, lines.Err()
}

// compare compares the measured cases that are in both runs.
func (old earlierRun) compare(lines []kernelLine) (map[string]*change, meanChange) {
	changes, mean, seen := map[string]*change{}, meanChange{Bench: "geomean"}, map[string]bool{}
	var logs float64
	for i := range lines {
		l := &lines[i]
		if len(l.Samples) == 0 {
			continue
		}
		before, ok := old[l.name()]
		seen[l.name()] = true
		if !ok {
			mean.OnlyNew++
			continue
		}
		now := make([]float64, len(l.Samples))
		for j, t := range l.Samples {
			now[j] = math.Round(1e3 * t)
		}
		c := compareSamples(before, now)
		changes[l.name()] = c
		logs += math.Log(c.Ratio)
		mean.Cases++
	}
	for name := range old {
		if !seen[name] {
			mean.OnlyOld++
		}
	}
	if mean.Cases > 0 {
		mean.Ratio = math.Exp(logs / float64(mean.Cases))
	}
	return changes, mean
}

// compareSamples compares nanoseconds as benchstat does.
func compareSamples(before, now []float64) *change {
	sample := func(x []float64) *benchmath.Sample {
		return benchmath.NewSample(slices.Clone(x), &benchmath.DefaultThresholds)
	}
	a, b := sample(before), sample(now)
	const confidence = 0.95
	old, fresh := benchmath.AssumeNothing.Summary(a, confidence), benchmath.AssumeNothing.Summary(b, confidence)
	test := benchmath.AssumeNothing.Compare(a, b)
	return &change{
		OldUS: old.Center / 1e3, NewUS: fresh.Center / 1e3, Ratio: fresh.Center / old.Center, P: test.P, Significant: test.P <= test.Alpha,
		shown: test.FormatDelta(old.Center, fresh.Center) + " (" + test.String() + ")",
	}
}

// printChanges writes the comparison as a table.
func printChanges(w io.Writer, changes map[string]*change, mean meanChange) {
	fmt.Fprintf(w, "\n# compared with the earlier run: medians in µs, old and new; ~ = no significant difference\n")
	for _, name := range slices.Sorted(maps.Keys(changes)) {
		c := changes[name]
		fmt.Fprintf(w, "# %-60s %12.1f %12.1f  %s\n", name[len("Kernel/"):], c.OldUS, c.NewUS, c.shown)
	}
	if mean.Cases > 0 {
		fmt.Fprintf(w, "# geometric mean of %d cases: %.3f of the earlier time\n", mean.Cases, mean.Ratio)
	}
	if mean.OnlyOld+mean.OnlyNew > 0 {
		fmt.Fprintf(w, "# only in the earlier run: %d cases; only in this one: %d\n", mean.OnlyOld, mean.OnlyNew)
	}
}
