package infer

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"patchwork/tools/internal/figures"
	"patchwork/vlm/chat"
	"patchwork/vlm/generate"
)

const (
	maxWords   = 11 // explained words of an answer: three rows of images
	maxPatches = 5  // patches a word in JSON
)

// explanation is the part of infer's JSON for --explain.
type explanation struct {
	File        string          `json:"file"`
	Words       []explainedWord `json:"words"`
	Omitted     int             `json:"omitted_words"`
	AttentionMS float64         `json:"attention_ms"`
	DrawMS      float64         `json:"draw_ms"`
}

// explainedWord has the attention at the step that predicted the word; picture, prompt
// and answer sum to 1.
type explainedWord struct {
	Text    string        `json:"text"`
	Image   float64       `json:"picture"`
	Prompt  float64       `json:"prompt"`
	Answer  float64       `json:"answer"`
	Layers  []float64     `json:"picture_by_layer"`
	Patches []patchWeight `json:"top_patches"`
}

// patchWeight is a patch's share of the attention; image, row and column count from 0.
type patchWeight struct {
	Image  int     `json:"picture"`
	Row    int     `json:"row"`
	Column int     `json:"column"`
	Share  float64 `json:"share"`
}

// explain draws the attention on the images for each word of an answer.
func (s *session) explain(ctx context.Context, prompt chat.Tokens, answer []int32) (*explanation, error) {
	start := time.Now()
	e, err := generate.Explain(ctx, s.generator.Runner, prompt, s.images, answer, maxWords)
	if err != nil {
		return nil, fmt.Errorf("--explain: %w", err)
	}
	attention := time.Since(start)
	start = time.Now()
	q := figures.Input{Prompt: s.f.prompt}
	for i, pixels := range s.images {
		rgb := s.generator.Config.Vision.RGB(pixels, e.Grids[i])
		q.Images = append(q.Images, figures.Pixels(rgb.Pix, rgb.W))
	}
	if err := figures.Attention(s.f.explain, q, e); err != nil {
		return nil, fmt.Errorf("--explain: %w", err)
	}
	out := &explanation{File: s.f.explain, Omitted: e.Omitted, AttentionMS: ms(attention), DrawMS: ms(time.Since(start))}
	for _, w := range e.Words {
		word := explainedWord{Text: w.Text, Image: w.Mean.ImageShare(), Prompt: w.Mean.Prompt, Answer: w.Mean.Answer, Patches: topPatches(w.Mean, e.Grids)}
		for _, l := range w.Layers {
			word.Layers = append(word.Layers, l.ImageShare())
		}
		out.Words = append(out.Words, word)
	}
	return out, nil
}

// topPatches are the patches with the largest shares, the largest first.
func topPatches(l generate.AttentionMap, grids []chat.Grid) []patchWeight {
	var all []patchWeight
	for i, g := range grids {
		for p := range g.Tokens() {
			all = append(all, patchWeight{i, p / g.Cols, p % g.Cols, l.Patches[len(all)]})
		}
	}
	slices.SortStableFunc(all, func(a, b patchWeight) int { return cmp.Compare(b.Share, a.Share) })
	return all[:min(maxPatches, len(all))]
}
