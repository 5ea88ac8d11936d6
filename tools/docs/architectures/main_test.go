package main

import (
	"bytes"
	"fmt"
	"image/png"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"patchwork/internal/require"
)

func TestParseDataset(t *testing.T) {
	for text, want := range map[string]string{
		"a=x:y":                 "{a x y 7}",
		"a@20=x-*.parquet:y":    "{a x-*.parquet y 20}",
		"a=x":                   "error",
		"=x:y":                  "error",
		"a@0=x:y":               "error",
		"a@many=x:y":            "error",
		"a=:y":                  "error",
		"a@3=dir/x=1.parquet:y": "{a dir/x=1.parquet y 3}",
	} {
		d, err := parseDataset(text, 7)
		got := fmt.Sprint(d)
		if err != nil {
			got = "error"
		}
		if got != want {
			t.Errorf("%q: %s, want %s (%v)", text, got, want, err)
		}
	}
}

// finished is a study of finished runs, two seeds of each system.
func finished(t *testing.T) *study {
	t.Helper()
	s := &study{vlmtool: "no such program", out: t.TempDir(), seeds: 2, data: []dataset{{"shapes", "train", "test", 3}}, first: map[string]float64{"norms": 1.25}}
	for seed := range s.seeds {
		for i, system := range systems {
			r := result{System: system.name, Data: "shapes", Seed: seed, Steps: 3, cost: cost{5000, 2e9}}
			dir := filepath.Join(s.out, fmt.Sprintf("shapes-%s-3-%d", system.name, seed))
			require.NoError(t, os.MkdirAll(dir, 0o755))
			scores := fmt.Sprintf(`{"scores":{"exact_match":0.%d%d,"nll_per_token":1.5,"turns":40}}`, i, seed+1)
			require.NoError(t, os.WriteFile(filepath.Join(dir, "result.json"), []byte(scores), 0o644))
			require.NoError(t, os.WriteFile(filepath.Join(dir, "metrics.jsonl"), []byte(`{"step":1,"loss":3}`+"\n"+`{"step":2,"loss":2}`+"\n"+`{"step":3,"loss":1}`+"\n"), 0o644))
			require.NoError(t, s.finish(t.Context(), &r, system, s.data[0]))
			s.results = append(s.results, r)
		}
	}
	return s
}

// TestPage: finished runs are not repeated; the page has their means, and the figure is an image.
func TestPage(t *testing.T) {
	s := finished(t)
	s.language = []languageResult{{Name: "before", title: "before", Text: 2.5}}
	page, figure := filepath.Join(s.out, "page.md"), filepath.Join(s.out, "figures", "page.png")
	require.NoError(t, os.Mkdir(filepath.Dir(figure), 0o755))
	require.NoError(t, s.draw(figure))
	require.NoError(t, s.writePage(page, figure))
	text := string(require.Value(os.ReadFile(page))(t))
	for _, want := range []string{"| 1.5 (1.0–2.0) |", "| 1.500 (1.500–1.500) |", "| 5,000 | 2.00 | 3 | 1.2 |", "40 questions, 6 GFLOP a run", "(figures/page.png)", "| before | 2.50000 |"} {
		if !strings.Contains(text, want) {
			t.Errorf("the page lacks %q:\n%s", want, text)
		}
	}
	if img, err := png.Decode(bytes.NewReader(require.Value(os.ReadFile(figure))(t))); err != nil || img.Bounds().Dx() < 500 {
		t.Errorf("the figure: %v", err)
	}
}

// TestUnfinished: a run without a result is made, and its metrics must be whole.
func TestUnfinished(t *testing.T) {
	s := finished(t)
	require.NoError(t, os.Remove(filepath.Join(s.results[0].dir, "result.json")))
	if err := s.finish(t.Context(), &s.results[0], systems[0], s.data[0]); err == nil || !strings.Contains(err.Error(), "no such program") {
		t.Errorf("%v", err)
	}
	require.NoError(t, os.WriteFile(filepath.Join(s.results[1].dir, "metrics.jsonl"), []byte(`{"step":1,"loss":3}`+"\n"), 0o644))
	if _, err := s.curve("shapes", systems[1].name); err == nil || !strings.Contains(err.Error(), "1 steps in metrics.jsonl, want 3") {
		t.Errorf("%v", err)
	}
}
