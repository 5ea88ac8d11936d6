package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"patchwork/internal/require"
	"patchwork/vlm/data"
	"patchwork/vlm/eval"
)

// soundDemo is demo with two clips in each of two voices, of which the model gets one wrong.
func soundDemo(t *testing.T) string {
	t.Helper()
	dir := demo(t)
	truths, voices := []string{"cat", "dog", "cat", "dog"}, []string{"a", "a", "b", "<b>"}
	write := func(path string) {
		w, err := data.CreateWithSound(path)
		require.NoError(t, err)
		for i, truth := range truths {
			require.NoError(t, w.Write(data.Row{Clips: [][]byte{[]byte("sound " + truth)}, Turns: []data.Turn{{User: "what?", Assistant: truth}}, Source: voices[i]}))
		}
		require.NoError(t, w.Close())
	}
	test := filepath.Join(dir, "data", "test-0.parquet")
	write(filepath.Join(dir, "data", "train-0.parquet"))
	write(test)
	for _, control := range []string{eval.ControlNone, eval.ControlBlank, eval.ControlShuffled} {
		var lines []any
		for row, truth := range truths {
			a := eval.TurnResult{File: test, Row: row, Question: "what?", Truth: truth, Answer: truth}
			if control != eval.ControlNone || row == 3 {
				a.Answer = "cat"
			}
			a.Match = a.Answer == a.Truth
			lines = append(lines, a)
		}
		writeLines(t, filepath.Join(dir, "eval-"+control+".jsonl"), append(lines, eval.Result{Samples: 4, Turns: 4, Control: control})...)
	}
	return dir
}

// TestSoundReport: the page and the summary have the scores by voice, and the example is a clip.
func TestSoundReport(t *testing.T) {
	dir := soundDemo(t)
	var out bytes.Buffer
	require.NoError(t, run(dir, &out))
	page := string(require.Value(os.ReadFile(filepath.Join(dir, "index.html")))(t))
	for text, want := range map[string][]string{
		out.String(): {"75.0% of 4 words are right, said in 3 voices", "most frequent answer, no sound   50.0%", "other clips' sound    50.0%", "its worst voice                  0.0% (<b>)", "--audio " + filepath.Join(dir, "example.wav")},
		page:         {"75.0% of words right", "data:audio/wav;base64,", "✗ cat", "truth: dog", "<td>a</td><td>2</td><td class=\"main\">100.0%</td>", "&lt;b&gt;", "<svg"},
	} {
		for _, w := range want {
			if !strings.Contains(text, w) {
				t.Errorf("%q is missing in\n%.3000s", w, text)
			}
		}
	}
	if strings.Contains(page, "<td><b>") || strings.Contains(page, "ZgotmplZ") {
		t.Error("the page has unescaped or refused content")
	}
	if example := string(require.Value(os.ReadFile(filepath.Join(dir, "example.wav")))(t)); !strings.HasPrefix(example, "sound ") {
		t.Errorf("example.wav is %q", example)
	}
}
