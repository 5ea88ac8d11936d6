package inspect

import (
	"fmt"
	"os"
	"path/filepath"

	"patchwork/internal/smallfile"
	"patchwork/nn/safetensors"
	"patchwork/tools/internal/figures"
	"patchwork/tools/vlmtool/internal/cli"
	"patchwork/tools/vlmtool/internal/usage"
	"patchwork/vlm"
	"patchwork/vlm/checkpoint"
	"patchwork/vlm/image"
)

// drawModel draws a model's position embeddings and filters into a folder, and the
// patches of an image where one is given.
func drawModel(a *cli.App, model, dir, imageFile string) error {
	d, err := checkpoint.Describe(model)
	if err != nil {
		return err
	}
	v := d.Config.Vision
	if v.None() {
		return usage.Errorf("--figures: %s is a text-only decoder; only a model with an image embedder has figures", model)
	}
	if imageFile != "" && v.KeepsAspect() {
		return usage.Errorf("--image: the patches of an image are drawn only for models of square images")
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("--figures: %w", err)
	}
	var written []string
	file := func(name string) string {
		written = append(written, filepath.Join(dir, name))
		return written[len(written)-1]
	}
	if imageFile != "" {
		pixels, err := pixelsOf(a, imageFile, v.ImageSize)
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
	weights, err := filters(set, v)
	if err != nil {
		return err
	}
	if err := figures.Filters(file("filters.png"), weights, v.PatchSize); err != nil {
		return err
	}
	if a.JSON {
		return a.Result(map[string]any{"figures": written})
	}
	for _, w := range written {
		fmt.Fprintln(a.Stdout, w)
	}
	return nil
}

// pixelsOf reads an image as the model does.
func pixelsOf(a *cli.App, file string, size int) ([]byte, error) {
	raw, err := a.ReadFile(file, smallfile.Image)
	if err != nil {
		return nil, fmt.Errorf("--image %w", err)
	}
	img, err := image.Decode(raw)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return image.Preprocess(img, size), nil
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

// filters are the first layer's weights times ln1's scale: what a normalised patch is
// multiplied with.
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
