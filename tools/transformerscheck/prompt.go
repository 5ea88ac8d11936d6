package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	"patchwork/engine"
	"patchwork/nn"
	"patchwork/shaders"
	"patchwork/vlm"
	"patchwork/vlm/chat"
	"patchwork/vlm/image"
	"patchwork/vlm/packing"
)

// prompt is a file of a prompt: ids with a placeholder for each patch of the images, whose files are
// named relative to it.
type prompt struct {
	IDs         []int32  `json:"ids"`
	Images      []string `json:"images"`
	ImageTokens int      `json:"image_tokens"` // of an image, at most
}

// printPrompt prints the logits after every token of a prompt, {"logits": [T][V]}, and the pixels that the
// model saw, {"pixels": a list for each image, by row, column and channel of its patches, "grids"}.
func printPrompt(l *vlm.Runner, path string) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	var p prompt
	if err := json.Unmarshal(text, &p); err != nil {
		return err
	}
	if p.ImageTokens > 0 {
		l.Config.Vision.MaxPatches = p.ImageTokens
	}
	sample, pixels, err := p.sample(l.Config, filepath.Dir(path))
	if err != nil {
		return err
	}
	logits, err := allLogits(l, sample, pixels)
	if err != nil {
		return err
	}
	values := make([]int, len(pixels)) // bytes would be base64
	for i, v := range pixels {
		values[i] = int(v)
	}
	return json.NewEncoder(os.Stdout).Encode(map[string]any{"logits": logits, "pixels": values, "grids": sample.Grids})
}

// sample places the images of a prompt.
func (p prompt) sample(c vlm.Config, dir string) (*packing.Sample, []byte, error) {
	s := &packing.Sample{IDs: p.IDs, LossMask: make([]bool, len(p.IDs))}
	var all []byte
	at := 0
	for _, name := range p.Images {
		data, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			return nil, nil, err
		}
		pixels, w, h, err := image.PrepareFit(data, c.Vision.Fit())
		if err != nil {
			return nil, nil, err
		}
		grid, err := c.Vision.ImageGrid(w, h)
		if err != nil {
			return nil, nil, err
		}
		for at < len(p.IDs) && int(p.IDs[at]) != c.ImageTokenID {
			at++
		}
		if at+grid.Tokens() > len(p.IDs) {
			return nil, nil, fmt.Errorf("%s has %d tokens, the prompt fewer placeholders", name, grid.Tokens())
		}
		s.Images, s.Grids, all = append(s.Images, at), append(s.Grids, grid), append(all, pixels...)
		at += grid.Tokens()
	}
	if s.Images == nil {
		s.Grids = []chat.Grid{}
	}
	return s, all, nil
}

// allLogits computes the logits after every token of a sample in one pass, as training does.
func allLogits(l *vlm.Runner, s *packing.Sample, pixels []byte) ([][]float32, error) {
	t, vocab := s.Len(), l.Config.Text.VocabSize
	b, err := packing.Build(packing.Shape{Rows: 1, T: t, Patches: l.Config.Vision.Patches()},
		packing.Modes{Attention: l.Config.Attention, Turns: packing.InConversation, Loss: packing.OnAll}, [][]*packing.Sample{{s}})
	if err != nil {
		return nil, err
	}
	in := l.NewInputs(1, t, len(s.Images), t)
	if err := in.Allocate(l.Device); err != nil {
		return nil, err
	}
	defer in.Close()
	var y *nn.Tensor
	program, err := nn.Record("logits", nn.Options{Params: l.Params}, func(g *nn.Graph) {
		tables := l.VocabularyParams()
		y = g.Linear(l.Hidden(g, in, nil), g.Param(tables[len(tables)-1]), nil, nil)
		if limit := float32(l.Config.Text.FinalSoftCap); limit > 0 {
			y = g.SoftCap(y, limit)
		}
		g.Keep(y)
	})
	if err != nil {
		return nil, err
	}
	plan, err := l.Plan(program)
	if err != nil {
		return nil, err
	}
	exe, err := l.Device.Compile(plan, nil)
	if err != nil {
		return nil, err
	}
	defer exe.Free()
	var step [shaders.StepWords]uint32
	if _, err := in.Upload(l.Device, b, pixels, &step); err != nil {
		return nil, err
	}
	if err := exe.Run(context.Background(), &step); err != nil {
		return nil, err
	}
	flat := make([]float32, y.Size())
	if err := engine.DownloadTemp(l.Device, exe, y.View(), flat); err != nil {
		return nil, err
	}
	out := make([][]float32, t)
	for i := range out {
		out[i] = flat[i*vocab:][:vocab]
	}
	return out, nil
}
