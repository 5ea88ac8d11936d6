package generate_test

import (
	"bytes"
	"context"
	"image"
	"image/color"
	"image/draw"
	"image/png"
	"os"
	"path/filepath"

	"patchwork/engine/cpu"
	"patchwork/vlm/data"
	"patchwork/vlm/train"
)

// colors are those of the squares that the example's model is trained on.
var colors = []struct {
	name  string
	value color.RGBA
}{{"red", color.RGBA{220, 30, 30, 255}}, {"green", color.RGBA{20, 160, 40, 255}}, {"blue", color.RGBA{30, 60, 220, 255}}}

// colorModel trains a small model to name the colour of a square; its loss is below 1e-5
// after 30 steps. It returns the model's folder and an image that it was not trained on.
func colorModel(dir string) (folder, file string) {
	r := must(train.Preset("shapes"))
	text := *r.Text
	text.NumHiddenLayers = 2
	r.Text, r.Steps, r.SeqLen, r.PoolSize = &text, 40, 512, 64
	r.LR, r.EmbedderLR, r.Warmup = 2e-3, 2e-3, 5
	r.ValEvery, r.SaveEvery, r.HoldOut = 0, 0, 0
	folder = filepath.Join(dir, "model")
	must(train.Run(context.Background(), train.Options{Recipe: r, Data: data.Local(squares(dir, 120)), Out: folder, Device: cpu.Open(0)}))
	file = filepath.Join(dir, "blue.png")
	return folder, must(file, os.WriteFile(file, square(colors[2].value, 17, 12, 21), 0o644))
}

// squares writes a data set of n images with a question about each.
func squares(dir string, n int) string {
	path := filepath.Join(dir, "train-00000-of-00001.parquet")
	w := must(data.Create(path))
	for i := range n {
		c := colors[i%len(colors)]
		must(w, w.Write(data.Row{
			Images: [][]byte{square(c.value, 4+i%17, 3+i%13, 20+i%11)},
			Turns:  []data.Turn{{User: "what color is the shape?", Assistant: c.name}},
		}))
	}
	return must(path, w.Close())
}

// square is a PNG of 64×64 pixels.
func square(c color.Color, x, y, side int) []byte {
	m := image.NewRGBA(image.Rect(0, 0, 64, 64))
	draw.Draw(m, m.Bounds(), image.White, image.Point{}, draw.Src)
	draw.Draw(m, image.Rect(x, y, x+side, y+side), image.NewUniform(c), image.Point{}, draw.Src)
	var out bytes.Buffer
	return must(out.Bytes, png.Encode(&out, m))()
}
