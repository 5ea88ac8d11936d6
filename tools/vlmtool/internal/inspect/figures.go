package inspect

import (
	"fmt"
	"os"
	"path/filepath"

	"patchwork/internal/smallfile"
	"patchwork/tools/internal/figures"
	"patchwork/tools/vlmtool/internal/cli"
	"patchwork/tools/vlmtool/internal/usage"
	"patchwork/vlm"
	"patchwork/vlm/checkpoint"
	"patchwork/vlm/image"
	"patchwork/vlm/pretrained"
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
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("--figures: %w", err)
	}
	var written []string
	file := func(name string) string {
		written = append(written, filepath.Join(dir, name))
		return written[len(written)-1]
	}
	if imageFile != "" {
		if err := drawPatches(a, file("patches.png"), imageFile, v); err != nil {
			return err
		}
	}
	names := namesOf(v)
	var tables [2][][]float32
	for i, name := range names.positions {
		if tables[i], err = vectors(model, name, min(v.SquareGrid().Rows, maxPositions), names.width); err != nil {
			return err
		}
	}
	if err := figures.Positions(file("positions.png"), tables[0], tables[1]); err != nil {
		return err
	}
	weights, err := filters(model, v)
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

// maxPositions is the largest number of rows and columns whose position embeddings are compared, each
// place with each other.
const maxPositions = 32

// drawPatches draws the patches of an image, as the model reads them.
func drawPatches(a *cli.App, path, imageFile string, v vlm.VisionConfig) error {
	raw, err := a.ReadFile(imageFile, smallfile.Image)
	if err != nil {
		return fmt.Errorf("--image %w", err)
	}
	pixels, w, h, err := image.PrepareFit(raw, v.Fit())
	if err != nil {
		return fmt.Errorf("%s: %w", imageFile, err)
	}
	grid, err := v.ImageGrid(w, h)
	if err != nil {
		return fmt.Errorf("%s: %w", imageFile, err)
	}
	return figures.Patches(path, v.RGB(pixels, grid).Pix, grid, v.PatchSize)
}

// embedderNames are the names of an embedder's parameters.
type embedderNames struct {
	positions     [2]string // of rows and of columns
	scale, matrix string
	width         int // outputs of the matrix
}

func namesOf(v vlm.VisionConfig) embedderNames {
	if v.Gemma() {
		const prefix = "vision_embedder."
		return embedderNames{[2]string{prefix + "pos_embedding.y", prefix + "pos_embedding.x"}, prefix + "patch_ln1.weight", prefix + "patch_dense.weight", v.EmbedSize}
	}
	return embedderNames{[2]string{"embedder.y_pos_emb", "embedder.x_pos_emb"}, "embedder.ln1.weight", "embedder.fc.weight", v.HiddenSize}
}

// vectors reads the first n rows, of a width, of a model's parameter.
func vectors(model, name string, n, width int) ([][]float32, error) {
	values := make([]float32, n*width)
	if err := pretrained.ReadParam(model, name, values); err != nil {
		return nil, err
	}
	out := make([][]float32, n)
	for i := range out {
		out[i] = values[i*width:][:width]
	}
	return out, nil
}

// filters are the first layer's weights times the scale of the norm before it: what a normalised patch is
// multiplied with, in channel, row and column order.
func filters(model string, v vlm.VisionConfig) ([][]float32, error) {
	names := namesOf(v)
	scale, err := vectors(model, names.scale, 1, v.Features())
	if err != nil {
		return nil, err
	}
	filters, err := vectors(model, names.matrix, names.width, v.EmbedderInputs())
	if err != nil {
		return nil, err
	}
	for i, f := range filters {
		f = f[:v.Features()]
		for j := range f {
			f[j] *= scale[0][j]
		}
		if v.Gemma() {
			f = byChannel(f)
		}
		filters[i] = f
	}
	return filters, nil
}

// byChannel orders the values of a patch by channel, row and column instead of row, column and channel.
func byChannel(values []float32) []float32 {
	out := make([]float32, 0, len(values))
	for channel := range 3 {
		for at := channel; at < len(values); at += 3 {
			out = append(out, values[at])
		}
	}
	return out
}
