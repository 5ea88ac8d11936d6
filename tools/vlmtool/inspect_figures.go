package main

import (
	"fmt"
	"os"
	"path/filepath"

	"patchwork/nn/safetensors"
	"patchwork/tools/figures"
	"patchwork/vlm"
	"patchwork/vlm/checkpoint"
)

// drawModel draws a model's figures into a folder: its positions and filters, and how
// it cuts up a picture where one is given.
func (a *app) drawModel(model, dir, picture string) error {
	d, err := checkpoint.Describe(model)
	if err != nil {
		return err
	}
	v := d.Config.Vision
	if v.None() {
		return usagef("--figures: %s is a decoder that reads text alone; a model with an embedder has figures", model)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("--figures: %w", err)
	}
	var written []string
	file := func(name string) string {
		written = append(written, filepath.Join(dir, name))
		return written[len(written)-1]
	}
	if picture != "" {
		raw, err := a.readImages([]string{picture})
		if err != nil {
			return err
		}
		pixels, err := preprocess(d.Config, picture, raw[0])
		if err != nil {
			return err
		}
		if err := figures.Patches(file("patches.png"), pixels, v.ImageSize, v.PatchSize); err != nil {
			return err
		}
	}
	set, err := safetensors.OpenSet(model)
	if err != nil {
		return err
	}
	defer set.Close()
	rows, err := vectors(set, "embedder.y_pos_emb", v.Grid(), v.HiddenSize)
	if err != nil {
		return err
	}
	columns, err := vectors(set, "embedder.x_pos_emb", v.Grid(), v.HiddenSize)
	if err != nil {
		return err
	}
	if err := figures.Positions(file("positions.png"), rows, columns); err != nil {
		return err
	}
	filters, err := filters(set, v)
	if err != nil {
		return err
	}
	if err := figures.Filters(file("filters.png"), filters, v.PatchSize); err != nil {
		return err
	}
	if a.json {
		return a.result(map[string]any{"figures": written})
	}
	for _, w := range written {
		fmt.Fprintln(a.stdout, w)
	}
	return nil
}

// vectors reads the first n rows of a tensor [≥n, width].
func vectors(set *safetensors.Set, name string, n, width int) ([][]float32, error) {
	values := make([]float32, n*width)
	if err := set.ReadFloats(name, 0, values); err != nil {
		return nil, err
	}
	out := make([][]float32, n)
	for i := range out {
		out[i] = values[i*width:][:width]
	}
	return out, nil
}

// filters are what the first layer multiplies a normalised patch with: its weights
// times ln1's scale.
func filters(set *safetensors.Set, v vlm.VisionConfig) ([][]float32, error) {
	scale, err := vectors(set, "embedder.ln1.weight", 1, v.Features())
	if err != nil {
		return nil, err
	}
	filters, err := vectors(set, "embedder.fc.weight", v.HiddenSize, v.Features())
	if err != nil {
		return nil, err
	}
	for _, f := range filters {
		for i := range f {
			f[i] *= scale[0][i]
		}
	}
	return filters, nil
}
