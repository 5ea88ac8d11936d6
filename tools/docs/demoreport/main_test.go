package main

import (
	"bytes"
	"encoding/json"
	"image"
	"image/png"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"patchwork/internal/jsonfloat"
	"patchwork/internal/require"
	"patchwork/nn/safetensors"
	"patchwork/vlm/data"
	"patchwork/vlm/eval"
	"patchwork/vlm/train"
)

// demo writes the files of a small demo: three questions about each of four images. The
// model answers one of them incorrectly, the colour in the last image; "yes", "red" and "one"
// are the most frequent training answers.
func demo(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for _, sub := range []string{"data", "model"} {
		require.NoError(t, os.MkdirAll(filepath.Join(dir, sub), 0o755))
	}
	questions := []string{"is there a circle?", "what color is the circle?", "how many shapes are there?"}
	guesses := []string{"yes", "red", "one"}
	truths := [][]string{{"yes", "red", "one"}, {"no", "blue", "one"}, {"yes", "red", "two"}, {"no", "<b>", "two"}}

	rows, test := filepath.Join(dir, "data", "train-0.parquet"), filepath.Join(dir, "data", "test-0.parquet")
	writeRows(t, rows, questions, [][]string{guesses, guesses, {"no", "blue", "two"}})
	writeRows(t, test, questions, truths)
	for _, control := range []string{eval.ControlNone, eval.ControlBlank, eval.ControlShuffled} {
		var lines []any
		for row, truth := range truths {
			for i, question := range questions {
				a := eval.TurnResult{File: test, Row: row, Question: question, Truth: truth[i], Answer: truth[i]}
				if control != eval.ControlNone || row == 3 && i == 1 {
					a.Answer = guesses[i]
				}
				a.Match = a.Answer == a.Truth
				lines = append(lines, a)
			}
		}
		lines = append(lines, eval.Result{Samples: len(truths), Turns: len(lines), Control: control})
		writeLines(t, filepath.Join(dir, "eval-"+control+".jsonl"), lines...)
	}
	var metrics []any
	for step := range 50 {
		metrics = append(metrics, train.StepMetrics{Step: step + 1, Tokens: int64(1000 * (step + 1)), Loss: 3 / jsonfloat.Float(step+1), Seconds: float64(step+1) / 10})
	}
	writeLines(t, filepath.Join(dir, "model", "metrics.jsonl"), append(metrics, train.ValMetrics{Step: 50, ValLoss: 0.1})...)
	writeLines(t, filepath.Join(dir, "model", "run.json"), map[string]any{"device": map[string]string{"device": "cpu", "name": "A & B"}})
	var weights bytes.Buffer
	require.NoError(t, safetensors.Write(&weights, nil, []safetensors.Entry{safetensors.Floats("w", []int{4, 5}, func() ([]float32, error) { return make([]float32, 20), nil })}))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "model", "model.safetensors"), weights.Bytes(), 0o644))
	return dir
}

func writeRows(t *testing.T, path string, questions []string, answers [][]string) {
	t.Helper()
	w, err := data.Create(path)
	require.NoError(t, err)
	for i, row := range answers {
		img := image.NewGray(image.Rect(0, 0, 8, 8))
		img.Pix[0] = uint8(i)
		var file bytes.Buffer
		require.NoError(t, png.Encode(&file, img))
		r := data.Row{Images: [][]byte{file.Bytes()}}
		for j, answer := range row {
			r.Turns = append(r.Turns, data.Turn{User: questions[j], Assistant: answer})
		}
		require.NoError(t, w.Write(r))
	}
	require.NoError(t, w.Close())
}

func writeLines(t *testing.T, path string, values ...any) {
	t.Helper()
	var out bytes.Buffer
	for _, v := range values {
		require.NoError(t, json.NewEncoder(&out).Encode(v))
	}
	require.NoError(t, os.WriteFile(path, out.Bytes(), 0o644))
}

func TestReport(t *testing.T) {
	dir := demo(t)
	r, err := load(dir)
	require.NoError(t, err)
	if r.All.Turns != 12 || r.All.Model != 11.0/12 || r.All.Baseline != 6.0/12 || r.All.Blank != 6.0/12 || r.All.Shuffled != 6.0/12 {
		t.Errorf("all questions: %+v", r.All)
	}
	if len(r.Families) != 3 || r.Families[1].Model != 3.0/4 || r.Families[1].Baseline != 2.0/4 {
		t.Errorf("families: %+v", r.Families)
	}
	if len(r.Mistakes) != 1 || r.Mistakes[0].Truth != "<b>" {
		t.Errorf("mistakes: %+v", r.Mistakes)
	}
	if r.Steps != 50 || r.Seconds != 5 || r.TokensPerS != 10000 || r.Parameters != 20 {
		t.Errorf("%d steps, %g s, %g tokens/s, %d parameters", r.Steps, r.Seconds, r.TokensPerS, r.Parameters)
	}
}

func TestRun(t *testing.T) {
	dir := demo(t)
	var out bytes.Buffer
	require.NoError(t, run(dir, &out))
	if want := "bin/vlmtool infer --model " + filepath.Join(dir, "model") + " --image " + filepath.Join(dir, "example.png"); !strings.Contains(out.String(), want) {
		t.Errorf("the summary lacks %q:\n%s", want, out.String())
	}
	for _, name := range []string{"answers.png", "example.png"} {
		f, err := os.Open(filepath.Join(dir, name))
		require.NoError(t, err)
		if _, err := png.Decode(f); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		f.Close()
	}
	text, err := os.ReadFile(filepath.Join(dir, "index.html"))
	require.NoError(t, err)
	if outside := regexp.MustCompile(`(?i)<script|<link|https?:|@import`).Find(text); outside != nil {
		t.Errorf("the page is not self-contained: %q", outside)
	}
	if bytes.Contains(text, []byte("<b>")) || !bytes.Contains(text, []byte("A &amp; B")) {
		t.Error("text is not escaped in the page")
	}
}

func TestTruncatedEvaluation(t *testing.T) {
	dir := demo(t)
	path := filepath.Join(dir, "eval-blank.jsonl")
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(path, text[:bytes.LastIndexByte(text[:len(text)-1], '\n')+1], 0o644))
	if _, err := load(dir); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("got %v, want an error that names %s", err, path)
	}
}
