package main

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"patchwork/internal/require"
	"patchwork/vlm/audio"
	"patchwork/vlm/data"
	"patchwork/vlm/tokenizer"
)

// humming stands for the synthesiser: a tone that depends on the utterance.
func humming(u utterance) ([]byte, error) {
	samples := make([]float32, 3000)
	for i := range samples {
		samples[i] = float32((i*(u.speed+u.pitch+len(u.word)))%200)/100 - 1
	}
	return encodeWAV(samples), nil
}

func TestSameFlagsSameBytes(t *testing.T) {
	a, b, other := t.TempDir(), t.TempDir(), t.TempDir()
	for _, o := range []options{{out: a, train: 3, test: 2, seed: 3}, {out: b, train: 3, test: 2, seed: 3}, {out: other, train: 3, test: 2, seed: 4}} {
		require.NoError(t, generate(o, humming))
	}
	for _, name := range []string{trainFile, testFile} {
		read := func(dir string) []byte { return require.Value(os.ReadFile(filepath.Join(dir, name)))(t) }
		if !bytes.Equal(read(a), read(b)) {
			t.Errorf("%s differs from one run to the next", name)
		}
		if bytes.Equal(read(a), read(other)) {
			t.Errorf("%s does not depend on the seed", name)
		}
	}
}

// TestHeldOut: no speaker of the test is in the training data, and every word is as frequent as any
// other, so that the most frequent answer is right once in 30 times.
func TestHeldOut(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, generate(options{out: dir, train: 50, test: 7, seed: 1}, humming))
	speaker := func(voice string) string { _, name, _ := strings.Cut(voice, "+"); return name }
	heard := map[string]bool{}
	for _, c := range []struct {
		name  string
		clips int
		check func(row data.Row)
	}{
		{trainFile, 50, func(row data.Row) { heard[speaker(row.Source)] = true }},
		{testFile, 7, func(row data.Row) {
			if heard[speaker(row.Source)] {
				t.Errorf("the speaker of %s is in the training data", row.Source)
			}
		}},
	} {
		set, err := data.Open(t.Context(), data.Local(filepath.Join(dir, c.name)))
		require.NoError(t, err)
		defer set.Close()
		counts := map[string]int{}
		for i := range set.Len() {
			row := require.Value(set.Row(i))(t)
			if v := data.Check(row); v.Status != data.Use || len(v.Clips) != 1 {
				t.Fatalf("%s: row %d: %+v", c.name, i, v)
			}
			counts[row.Turns[0].Assistant]++
			c.check(row)
		}
		for _, word := range words {
			if counts[word] != c.clips {
				t.Errorf("%s: %d clips of %q, want %d", c.name, counts[word], word, c.clips)
			}
		}
	}
	if len(words) != 30 || len(heard) < 40 {
		t.Errorf("%d words, %d speakers in training", len(words), len(heard))
	}
}

// TestSynthesiserFails: the first failure ends it, and no file appears.
func TestSynthesiserFails(t *testing.T) {
	dir := t.TempDir()
	failed := errors.New("no voice")
	err := generate(options{out: dir, train: 1, test: 1}, func(utterance) ([]byte, error) { return nil, failed })
	files, _ := filepath.Glob(filepath.Join(dir, "*"))
	if !errors.Is(err, failed) || len(files) > 0 {
		t.Errorf("%v, files %v", err, files)
	}
}

// TestTrim: silence is cut but for a margin, and a clip survives a WAV file.
func TestTrim(t *testing.T) {
	samples := slices.Concat(make([]float32, 5000), []float32{0.5, -1, 0.5}, make([]float32, 7000))
	got := trim(samples)
	if len(got) != 3+2*margin || got[margin+1] != -1 {
		t.Errorf("%d samples, want %d", len(got), 3+2*margin)
	}
	read, info, err := audio.Decode(encodeWAV(got), rate)
	if err != nil || len(read) != len(got) || info.Rate != rate || read[margin] < 0.499 || read[margin] > 0.501 {
		t.Errorf("%d samples, %+v, %v", len(read), info, err)
	}
	if n := len(trim(make([]float32, 100))); n > 100 {
		t.Errorf("silence became %d samples", n)
	}
}

// TestTokenizerFresh: the preset's tokenizer is the one that this command writes, and every word is
// one token.
func TestTokenizerFresh(t *testing.T) {
	const preset = "../../vlm/pretrained/presets/words"
	dir := t.TempDir()
	require.NoError(t, writeTokenizer(dir))
	for _, name := range []string{"tokenizer.json", "tokenizer_config.json"} {
		want := require.Value(os.ReadFile(filepath.Join(dir, name)))(t)
		if got, err := os.ReadFile(filepath.Join(preset, name)); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s is stale (%v): go run ./tools/wordsdata --tokenizer %s", name, err, preset)
		}
	}
	tok, err := tokenizer.Load(filepath.Join(dir, "tokenizer.json"))
	require.NoError(t, err)
	for _, word := range words {
		if ids := require.Value(tok.EncodePlain(word))(t); len(ids) != 1 {
			t.Errorf("%q is %d tokens", word, len(ids))
		}
	}
}
