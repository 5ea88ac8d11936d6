package main

import (
	"bytes"
	"encoding/json"
	"image/png"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/perf/benchfmt"
)

// TestBenchKernels: benchstat's reader takes the lines, the JSON has an object a
// case, and a run compared with itself has changed nothing.
func TestBenchKernels(t *testing.T) {
	dir := t.TempDir()
	args := func(more ...string) []string {
		return append([]string{"bench", "kernels", "--device", "cpu", "--quiet", "--filter", "^(swiglu|softmax|rope)", "--count", "4"}, more...)
	}
	picture := filepath.Join(dir, "roof.png")
	text := vlmtool(args("--plot", picture)...)
	if text.code != 0 || text.stderr != "" {
		t.Fatalf("%+v", text)
	}
	samples := map[string]int{}
	reader := benchfmt.NewReader(strings.NewReader(text.stdout), "test")
	for reader.Scan() {
		switch r := reader.Result().(type) {
		case *benchfmt.SyntaxError:
			t.Error(r)
		case *benchfmt.Result:
			seconds, ok := r.Value("sec/op")
			roof, shown := r.Value("%roofline")
			if !ok || seconds <= 0 || !shown || roof <= 0 {
				t.Errorf("%s: %g s, %g %% of its roofline", r.Name, seconds, roof)
			}
			samples[string(r.Name.Full())]++
		}
	}
	must(t, reader.Err())
	for _, want := range []string{"Kernel/swiglu/n=53248", "Kernel/rope_split/tokens=1/heads=3/kvheads=3/headdim=32"} {
		if samples[want] == 0 {
			t.Errorf("%s is missing; there are %v", want, samples)
		}
	}
	f, err := os.Open(picture)
	must(t, err)
	defer f.Close()
	if _, err := png.Decode(f); err != nil {
		t.Error(err)
	}
	file := filepath.Join(dir, "old.txt")
	must(t, os.WriteFile(file, []byte(text.stdout), 0o644))
	got := vlmtool(args("--json", "--compare", file)...)
	if got.code != 0 || got.stderr != "" {
		t.Fatalf("%+v", got)
	}
	lines := strings.Split(strings.TrimSpace(got.stdout), "\n")
	for _, line := range lines[:len(lines)-1] {
		var l kernelLine
		must(t, json.Unmarshal([]byte(line), &l))
		if l.Kernel == "" || l.Device != "cpu" || l.Old == nil || l.Roofline <= 0 || l.Checked == "" || l.Checked == "none" {
			t.Errorf("%+v", l)
		}
	}
	var mean meanChange
	must(t, json.Unmarshal([]byte(lines[len(lines)-1]), &mean))
	if mean.Bench != "geomean" || mean.Cases != len(samples) || mean.OnlyOld+mean.OnlyNew != 0 || !(mean.Ratio > 0) {
		t.Errorf("%+v for %d cases", mean, len(samples))
	}
}

// TestCompare: the statistics of made-up runs, in both forms.
func TestCompare(t *testing.T) {
	line := func(name string, samples ...float64) kernelLine {
		return kernelLine{Kernel: "k", Case: name, Samples: samples}
	}
	before := []kernelLine{
		line("same", 10, 11, 12, 10, 11, 12), line("twice", 10, 11, 12, 10, 11, 12), line("few", 10, 11, 12), line("gone", 1, 1, 1),
	}
	now := []kernelLine{
		line("same", 11, 10, 12, 11, 10, 12), line("twice", 5, 5.5, 6, 5, 5.5, 6), line("few", 5, 5.5, 6), line("new", 1, 1, 1),
	}
	var text, object bytes.Buffer
	for _, l := range before {
		l.Bench, l.Checked = "kernel", "shape"
		printLines(&text, withMedian(l))
		data, err := json.Marshal(l)
		must(t, err)
		object.Write(append(data, '\n'))
	}
	for form, data := range map[string][]byte{"text": text.Bytes(), "json": object.Bytes()} {
		old, err := readRun(data)
		must(t, err)
		changes, mean := old.compare(now)
		for _, c := range []struct {
			name        string
			ratio, p    float64
			significant bool
		}{
			{"same", 1, 1, false},
			{"twice", 0.5, 0.002, true}, // 2 of the 12!/(6!6!) = 924 orders
			{"few", 0.5, 0.1, false},    // 2 of the 20
		} {
			got := changes["Kernel/k/"+c.name]
			if got == nil || math.Abs(got.Ratio-c.ratio) > 1e-9 || math.Abs(got.P-c.p) > 0.003 || got.Significant != c.significant {
				t.Errorf("%s: %s: %+v, want ratio %g, p %g, significant %v", form, c.name, got, c.ratio, c.p, c.significant)
			}
		}
		if want := math.Cbrt(0.25); mean.Cases != 3 || math.Abs(mean.Ratio-want) > 1e-9 || mean.OnlyOld != 1 || mean.OnlyNew != 1 {
			t.Errorf("%s: %+v, want a mean of %g", form, mean, want)
		}
	}
}

func withMedian(l kernelLine) *kernelLine {
	l.US, l.Runs = l.Samples[len(l.Samples)/2], 1
	return &l
}

// TestCompareBadFiles: what is no earlier run is said to be none.
func TestCompareBadFiles(t *testing.T) {
	dir := t.TempDir()
	for name, c := range map[string]struct{ data, says string }{
		"empty":   {"", "no results"},
		"other":   {"BenchmarkX 1 notanumber ns/op\n", "compare"},
		"json":    {"{\"kernel\": 3}\n", "line 1"},
		"nothing": {"goos: linux\n", "no results"},
	} {
		file := filepath.Join(dir, name)
		must(t, os.WriteFile(file, []byte(c.data), 0o644))
		got := vlmtool("bench", "kernels", "--device", "cpu", "--compare", file)
		if got.code != exitUsage || !strings.Contains(got.stderr, c.says) || got.stdout != "" {
			t.Errorf("%s: %+v, want %q", name, got, c.says)
		}
	}
}

// TestTuneWithoutVariants: the CPU has nothing to choose, and says so.
func TestTuneWithoutVariants(t *testing.T) {
	got := vlmtool("tune", "--device", "cpu")
	if got.code != exitFailed || !strings.Contains(got.stderr, "nothing to choose") {
		t.Errorf("%+v", got)
	}
}
