package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
)

// languageResult is what a decoder knows after training on images.
type languageResult struct {
	Name  string  `json:"name"`
	Text  float64 `json:"text_nll"` // nats per token of the text
	Image score   `json:"image"`    // of the images of the last data set
	Blind score   `json:"shuffled"`

	title string
}

// measureLanguage trains SmolLM2-135M on the last data set.
func (s *study) measureLanguage(ctx context.Context) error {
	before := languageResult{Name: "before", title: "before"}
	if err := keep(filepath.Join(s.out, "language-before.json"), &before, func() error { return s.textScore(ctx, &before, s.decoder) }); err != nil {
		return err
	}
	s.language = []languageResult{before}
	steps := strconv.Itoa(s.decoderSteps)
	frozen := []string{"--freeze-decoder-steps", steps}
	for _, c := range []struct {
		name, title string
		flags       []string
	}{
		{"plain", "all weights trained", nil},
		{"frozen", "decoder frozen", frozen},
		{"experts", "decoder frozen, image experts trained", join(frozen, "--image-experts")},
	} {
		r := languageResult{Name: c.name}
		dir := filepath.Join(s.out, fmt.Sprintf("language-%s-%s", c.name, steps))
		if err := keep(filepath.Join(dir, "result.json"), &r, func() error { return s.trainLanguage(ctx, &r, dir, steps, c.flags) }); err != nil {
			return err
		}
		r.title = c.title
		s.language = append(s.language, r)
	}
	return nil
}

func (s *study) trainLanguage(ctx context.Context, r *languageResult, dir, steps string, flags []string) error {
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	data := s.data[len(s.data)-1]
	args := join("train", "--preset", "smollm2-135m-small", "--decoder", s.decoder, "--device", "cpu", "--seq-len", "512", flags,
		"--data", data.train, "--out", dir, "--steps", steps, "--warmup", "5", "--lr", "3e-4", "--embedder-lr", "1e-3", "--holdout", "0", "--val-every", "0", "--save-every", "0")
	if err := s.call(ctx, nil, args...); err != nil {
		return err
	}
	if err := s.textScore(ctx, r, dir); err != nil {
		return err
	}
	for control, to := range map[string]*score{"none": &r.Image, "shuffled": &r.Blind} {
		if err := s.call(ctx, to, "eval", "--model", dir, "--data", data.test, "--control", control, "--limit", "40", "--device", "cpu"); err != nil {
			return err
		}
	}
	return os.RemoveAll(filepath.Join(dir, "checkpoints")) // larger than the model
}

func (s *study) textScore(ctx context.Context, r *languageResult, model string) error {
	var text score
	err := s.call(ctx, &text, "eval", "--model", model, "--text", s.text, "--weights", "f32", "--device", "cpu")
	r.Text = text.NLL
	return err
}
