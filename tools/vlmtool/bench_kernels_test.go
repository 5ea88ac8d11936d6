package main

import (
	"encoding/json"
	"image/png"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/perf/benchfmt"

	"patchwork/internal/require"
	"patchwork/tools/vlmtool/internal/cli"
)

// TestBenchKernels: benchstat can read the lines, the JSON has one object per case, and a
// run compared with itself shows no change.
func TestBenchKernels(t *testing.T) {
	if testing.Short() {
		t.Skip("it measures kernels")
	}
	dir := t.TempDir()
	args := func(more ...string) []string {
		return append([]string{"bench", "kernels", "--device", "cpu", "--quiet", "--filter", "^(swiglu|softmax|rope)", "--count", "4"}, more...)
	}
	plot := filepath.Join(dir, "roof.png")
	text := vlmtool(args("--plot", plot)...)
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
	require.NoError(t, reader.Err())
	for _, want := range []string{"Kernel/swiglu/n=53248", "Kernel/rope_split/tokens=1/heads=3/kvheads=3/headdim=32"} {
		if samples[want] == 0 {
			t.Errorf("%s is missing; there are %v", want, samples)
		}
	}
	f, err := os.Open(plot)
	require.NoError(t, err)
	defer f.Close()
	if _, err := png.Decode(f); err != nil {
		t.Error(err)
	}
	file := filepath.Join(dir, "old.txt")
	require.NoError(t, os.WriteFile(file, []byte(text.stdout), 0o644))
	got := vlmtool(args("--json", "--compare", file)...)
	if got.code != 0 || got.stderr != "" {
		t.Fatalf("%+v", got)
	}
	lines := strings.Split(strings.TrimSpace(got.stdout), "\n")
	for _, line := range lines[:len(lines)-1] {
		var l struct {
			Kernel, Device, Checked string
			Roofline                float64
			Compared                *struct{}
		}
		require.NoError(t, json.Unmarshal([]byte(line), &l))
		if l.Kernel == "" || l.Device != "cpu" || l.Compared == nil || l.Roofline <= 0 || l.Checked == "" || l.Checked == "none" {
			t.Errorf("%+v", l)
		}
	}
	var mean struct {
		Bench   string
		Cases   int
		Ratio   float64
		OnlyOld int `json:"only_old"`
		OnlyNew int `json:"only_new"`
	}
	require.NoError(t, json.Unmarshal([]byte(lines[len(lines)-1]), &mean))
	if mean.Bench != "geomean" || mean.Cases != len(samples) || mean.OnlyOld+mean.OnlyNew != 0 || !(mean.Ratio > 0) {
		t.Errorf("%+v for %d cases", mean, len(samples))
	}
}

// TestCompareBadFiles: --compare with a file that has no earlier run is a usage error.
func TestCompareBadFiles(t *testing.T) {
	dir := t.TempDir()
	for name, c := range map[string]struct{ data, message string }{
		"empty":   {"", "no results"},
		"other":   {"BenchmarkX 1 notanumber ns/op\n", "compare"},
		"json":    {"{\"kernel\": 3}\n", "line 1"},
		"nothing": {"goos: linux\n", "no results"},
	} {
		file := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(file, []byte(c.data), 0o644))
		got := vlmtool("bench", "kernels", "--device", "cpu", "--compare", file)
		if got.code != cli.ExitUsage || !strings.Contains(got.stderr, c.message) || got.stdout != "" {
			t.Errorf("%s: %+v, want %q", name, got, c.message)
		}
	}
}

// TestTuneWithoutVariants: tune is an error on the CPU, which has no variants to choose from.
func TestTuneWithoutVariants(t *testing.T) {
	got := vlmtool("tune", "--device", "cpu")
	if got.code != cli.ExitFailed || !strings.Contains(got.stderr, "nothing to choose") {
		t.Errorf("%+v", got)
	}
}
