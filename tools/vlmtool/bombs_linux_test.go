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

	"patchwork/internal/bombs"
	"patchwork/internal/require"
	"patchwork/tools/vlmtool/internal/cli"
	"patchwork/vlm/data"
)

// asVlmtool is an environment variable that makes the test binary run vlmtool. Its value is
// the file for the process's peak memory.
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

// peakOf runs vlmtool in a process and returns its peak resident memory in MB by VmHWM
// (wait4's includes the parent's at the fork).
func peakOf(t *testing.T, args ...string) (stdout string, peak float64) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "peak")
	c := exec.Command(os.Args[0], args...)
	c.Env = append(os.Environ(), asVlmtool+"="+file)
	var out, errors bytes.Buffer
	c.Stdout, c.Stderr = &out, &errors
	if err := c.Run(); err != nil {
		t.Fatalf("%v: %v\n%.2000s", args, err, errors.String())
	}
	status, err := os.ReadFile(file)
	require.NoError(t, err)
	for line := range strings.Lines(string(status)) {
		var kB float64
		if n, _ := fmt.Sscanf(line, "VmHWM: %f kB", &kB); n == 1 {
			return out.String(), kB * 1024 / 1e6
		}
	}
	t.Fatalf("no VmHWM in %s", status)
	return "", 0
}

const maxMB = 500 * instrumented

// TestBombs checks and trains on rows that are small on disk and large in memory, among
// ordinary ones. PATCHWORK_BOMBS=each measures each row separately.
func TestBombs(t *testing.T) {
	if testing.Short() {
		t.Skip("it trains for half a minute")
	}
	all := bombs.Rows()
	dir := t.TempDir()
	if os.Getenv("PATCHWORK_BOMBS") == "each" {
		for _, b := range all {
			t.Run(b.Name, func(t *testing.T) { inspectBombs(t, dir, []bombs.Bomb{b}) })
		}
		return
	}
	inspectBombs(t, dir, all)
	// A row of a hundred thousand turns is valid, and would take minutes to train on.
	file := writeBombs(t, dir, slices.DeleteFunc(all, func(b bombs.Bomb) bool { return len(b.Row.Turns) > 1000 }))
	_, peak := peakOf(t, "train", "--data", file, "--out", filepath.Join(t.TempDir(), "run"), "--device", "cpu", "--epochs", "1",
		"--holdout", "0", "--max-bad-fraction", "0.5", "--quiet")
	t.Logf("train: %.0f MB", peak)
	if peak > maxMB {
		t.Errorf("training took %.0f MB, want at most %d", peak, maxMB)
	}
}

// TestCompressedRowGroup: a row group that is small in the file and large in memory, such as
// BMP drawings, is in memory only once.
func TestCompressedRowGroup(t *testing.T) {
	zeros := data.Row{Images: [][]byte{make([]byte, 150<<20)}, Turns: []data.Turn{{User: "what?", Assistant: "nothing"}}}
	inspectBombs(t, t.TempDir(), []bombs.Bomb{{Name: "150 MB of zeros", Row: zeros, Reason: "zeros"}})
	file := writeBombs(t, t.TempDir(), []bombs.Bomb{{Row: zeros}})
	if _, peak := peakOf(t, "inspect", file, "--rows"); peak > 300*instrumented {
		t.Errorf("it took %.0f MB, want at most 300: one copy and the program", peak)
	}
}

// writeBombs writes the rows, each followed by an ordinary one.
func writeBombs(t *testing.T, dir string, all []bombs.Bomb) (file string) {
	t.Helper()
	file = filepath.Join(dir, "train-00000-of-00001.parquet")
	w, err := data.Create(file)
	require.NoError(t, err)
	ordinary := data.Row{Images: [][]byte{bombs.PNG(64, 64, 8, 0, 0, 64*65)}, Turns: []data.Turn{{User: "what color is the shape?", Assistant: "red"}}}
	for _, b := range all {
		require.NoError(t, w.Write(b.Row))
		require.NoError(t, w.Write(ordinary))
	}
	require.NoError(t, w.Close())
	return file
}

func inspectBombs(t *testing.T, dir string, all []bombs.Bomb) {
	t.Helper()
	file := writeBombs(t, dir, all)
	out, peak := peakOf(t, "inspect", file, "--rows", "--json")
	t.Logf("inspect: %.0f MB", peak)
	if peak > maxMB {
		t.Errorf("checking took %.0f MB, want at most %d", peak, maxMB)
	}
	lines := strings.Split(strings.TrimSpace(out), "\n")
	if len(lines) != 2*len(all) {
		t.Fatalf("%d rows, want %d", len(lines), 2*len(all))
	}
	for i, line := range lines {
		var v data.Verdict
		require.NoError(t, json.Unmarshal([]byte(line), &v))
		name, use, reason := "an ordinary row", true, ""
		if i%2 == 0 {
			name, use, reason = all[i/2].Name, all[i/2].Usable, all[i/2].Reason
		}
		if (v.Status == data.Use) != use || !strings.Contains(v.Reason, reason) {
			t.Errorf("%s: %s %q, want use %v, %q", name, v.Status, v.Reason, use, reason)
		}
	}
}
