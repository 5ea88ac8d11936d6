package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"patchwork/tools/vlmtool/internal/cli"
	"patchwork/vlm/bombs"
	"patchwork/vlm/data"
)

// asVlmtool, set, makes the test's binary the command: its value names the file that
// receives the process's peak memory.
const asVlmtool = "PATCHWORK_TEST_PEAK"

func TestMain(m *testing.M) {
	if os.Getenv(asMain) != "" {
		main()
	}
	peak := os.Getenv(asVlmtool)
	if peak == "" {
		os.Exit(m.Run())
	}
	code := run(context.Background(), os.Args[1:], os.Stdout, os.Stderr)
	status, err := os.ReadFile("/proc/self/status")
	if err == nil {
		err = os.WriteFile(peak, status, 0o644)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = cli.ExitFailed
	}
	os.Exit(code)
}

// peakOf runs vlmtool as a process of its own, and returns its peak of resident
// memory in MB, by the kernel's own count (VmHWM; what wait4 tells includes the
// parent's at the fork).
func peakOf(t *testing.T, args ...string) (stdout string, peak float64, took time.Duration) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "peak")
	c := exec.Command(os.Args[0], args...)
	c.Env = append(os.Environ(), asVlmtool+"="+file)
	var out, errors bytes.Buffer
	c.Stdout, c.Stderr = &out, &errors
	start := time.Now()
	if err := c.Run(); err != nil {
		t.Fatalf("%v: %v\n%.2000s", args, err, errors.String())
	}
	took = time.Since(start)
	status, err := os.ReadFile(file)
	must(t, err)
	for line := range strings.Lines(string(status)) {
		var kB float64
		if n, _ := fmt.Sscanf(line, "VmHWM: %f kB", &kB); n == 1 {
			return out.String(), kB * 1024 / 1e6, took
		}
	}
	t.Fatalf("no VmHWM in %s", status)
	return "", 0, 0
}

const mostMB = 500 * instrumented

// TestBombs judges and trains on rows that are small on disk and large in memory,
// among ordinary ones. PATCHWORK_BOMBS=each measures every one by itself.
func TestBombs(t *testing.T) {
	all := bombs.Rows()
	dir := t.TempDir()
	if os.Getenv("PATCHWORK_BOMBS") == "each" {
		for _, b := range all {
			t.Run(b.Name, func(t *testing.T) { inspectBombs(t, dir, []bombs.Bomb{b}) })
		}
		return
	}
	inspectBombs(t, dir, all)
	// A hundred thousand turns are a hundred thousand samples: good ones, which take
	// minutes to train on.
	file := writeBombs(t, dir, slices.DeleteFunc(all, func(b bombs.Bomb) bool { return len(b.Row.Turns) > 1000 }))
	_, peak, took := peakOf(t, "train", "--data", file, "--out", filepath.Join(t.TempDir(), "run"), "--device", "cpu", "--epochs", "1",
		"--holdout", "0", "--max-bad-fraction", "0.5", "--quiet")
	t.Logf("train: %.0f MB, %v", peak, took)
	if peak > mostMB {
		t.Errorf("training took %.0f MB, want at most %d", peak, mostMB)
	}
}

// TestSwollenRowGroup: a row group that is small in the file and large in memory, as
// drawings in BMP are, takes memory once.
func TestSwollenRowGroup(t *testing.T) {
	zeros := data.Row{Images: [][]byte{make([]byte, 150<<20)}, Turns: []data.Turn{{User: "what?", Assistant: "nothing"}}}
	inspectBombs(t, t.TempDir(), []bombs.Bomb{{Name: "150 MB of zeros", Row: zeros, Says: "no picture"}})
	file := writeBombs(t, t.TempDir(), []bombs.Bomb{{Row: zeros}})
	if _, peak, _ := peakOf(t, "inspect", file, "--rows"); peak > 300*instrumented {
		t.Errorf("it took %.0f MB, want at most 300: half of what two copies take, and the program", peak)
	}
}

// writeBombs writes them with an ordinary row behind each.
func writeBombs(t *testing.T, dir string, all []bombs.Bomb) (file string) {
	t.Helper()
	file = filepath.Join(dir, "train-00000-of-00001.parquet")
	w, err := data.Create(file)
	must(t, err)
	ordinary := data.Row{Images: [][]byte{bombs.PNG(64, 64, 8, 0, 0, 64*65)}, Turns: []data.Turn{{User: "what color is the shape?", Assistant: "red"}}}
	for _, b := range all {
		must(t, w.Write(b.Row))
		must(t, w.Write(ordinary))
	}
	must(t, w.Close())
	return file
}

func inspectBombs(t *testing.T, dir string, all []bombs.Bomb) {
	t.Helper()
	file := writeBombs(t, dir, all)
	out, peak, took := peakOf(t, "inspect", file, "--rows", "--json")
	t.Logf("inspect: %.0f MB, %v", peak, took)
	if most := time.Duration(len(all)) * 5 * time.Second; peak > mostMB || took > most {
		t.Errorf("judging took %.0f MB and %v, want at most %d and %v", peak, took, mostMB, most)
	}
	lines := strings.Split(strings.TrimSpace(out), "\n")
	if len(lines) != 2*len(all) {
		t.Fatalf("%d rows, want %d", len(lines), 2*len(all))
	}
	for i, line := range lines {
		var v data.Verdict
		must(t, json.Unmarshal([]byte(line), &v))
		name, use, says := "an ordinary row", true, ""
		if i%2 == 0 {
			name, use, says = all[i/2].Name, all[i/2].Use, all[i/2].Says
		}
		if (v.Status == data.Use) != use || !strings.Contains(v.Reason, says) {
			t.Errorf("%s: %s %q, want use %v, %q", name, v.Status, v.Reason, use, says)
		}
	}
}
