package main

import (
	"encoding/json"
	"image/png"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"patchwork/internal/require"
	"patchwork/vlm/data"
)

// TestExplain: --explain writes a PNG and adds shares that sum to 1 to the JSON.
func TestExplain(t *testing.T) {
	model, file := smallRun(t)
	dir := t.TempDir()
	set, err := data.Open(t.Context(), data.Local(file))
	require.NoError(t, err)
	row, err := set.Row(0)
	require.NoError(t, err)
	imageFile, out := filepath.Join(dir, "p.png"), filepath.Join(dir, "out.png")
	require.NoError(t, os.WriteFile(imageFile, row.Images[0], 0o644))
	ask := func(more ...string) outcome {
		return vlmtool(append([]string{"infer", "--model", model, "--device", "cpu", "--prompt", "what color?", "--json", "--explain", out}, more...)...)
	}
	// At this temperature the answer of a barely trained model is random and long.
	for _, images := range [][]string{{"--image", imageFile}, {"--image", imageFile, "--image", imageFile}} {
		got := ask(append(images, "--temperature", "9", "--max-new-tokens", "60")...)
		if got.code != 0 || strings.Count(got.stdout, "\n") != 1 {
			t.Fatalf("%+v", got)
		}
		var r struct {
			Text    string
			Explain struct {
				Words []struct {
					Text                    string
					Picture, Prompt, Answer float64
					Layers                  []float64         `json:"picture_by_layer"`
					Patches                 []json.RawMessage `json:"top_patches"`
				}
			}
		}
		require.NoError(t, json.Unmarshal([]byte(got.stdout), &r))
		if len(r.Explain.Words) == 0 || len(r.Explain.Words) > 11 || !strings.HasPrefix(strings.TrimSpace(r.Text), r.Explain.Words[0].Text[:1]) {
			t.Errorf("%d words explained of %q", len(r.Explain.Words), r.Text)
		}
		for _, w := range r.Explain.Words {
			if sum := w.Picture + w.Prompt + w.Answer; math.Abs(sum-1) > 1e-5 || len(w.Layers) != 4 || len(w.Patches) != 5 {
				t.Errorf("%q: shares sum to %g, %d layers, %d patches", w.Text, sum, len(w.Layers), len(w.Patches))
			}
		}
		f, err := os.Open(out)
		require.NoError(t, err)
		if img, err := png.Decode(f); err != nil || img.Bounds().Dx() < 500 {
			t.Errorf("%s: %v", out, err)
		}
		require.NoError(t, f.Close())
	}
	for _, c := range []struct {
		args    []string
		code    int
		message string
	}{
		{nil, 2, "--image is missing"},
		{[]string{"--image", imageFile, "--chat"}, 2, "instead of --chat"},
		{[]string{"--image", imageFile, "--explain", filepath.Join(dir, "none", "x.png")}, 1, "no such file"},
	} {
		got := ask(c.args...)
		if first, _, _ := strings.Cut(got.stderr, "\n"); got.code != c.code || got.stdout != "" || !strings.Contains(first, c.message) {
			t.Errorf("%v: %+v, want exit %d and %q", c.args, got, c.code, c.message)
		}
	}
}

// TestInspectFigures: a model's figures are PNGs; anything else is an error.
func TestInspectFigures(t *testing.T) {
	model, file := smallRun(t)
	dir := filepath.Join(t.TempDir(), "figures")
	got := vlmtool("inspect", model, "--figures", dir)
	if got.code != 0 || strings.Count(got.stdout, "\n") != 2 {
		t.Fatalf("%+v", got)
	}
	for name := range strings.Lines(got.stdout) {
		f, err := os.Open(strings.TrimSpace(name))
		require.NoError(t, err)
		if _, err := png.Decode(f); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		require.NoError(t, f.Close())
	}
	for _, c := range []struct {
		args    []string
		code    int
		message string
	}{
		{[]string{model, "--image", "x.png"}, 2, "needs --figures DIR"},
		{[]string{file, "--figures", dir}, 1, "train-00000-of-00001.parquet"},
		{[]string{model, "--figures", filepath.Join(model, "config.json")}, 1, "name a folder"},
		{[]string{model, "--figures", dir, "--image", "nowhere.png"}, 1, "nowhere.png"},
		{[]string{model, "--figures", dir, "--rows"}, 2, "--rows"},
	} {
		got := vlmtool(append([]string{"inspect"}, c.args...)...)
		if first, _, _ := strings.Cut(got.stderr, "\n"); got.code != c.code || got.stdout != "" || !strings.Contains(first, c.message) {
			t.Errorf("%v: %+v, want exit %d and %q", c.args, got, c.code, c.message)
		}
	}
}
