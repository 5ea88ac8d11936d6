package vlm

import (
	"bytes"
	"fmt"
	"image"
	"image/color"
	"image/draw"
	"image/png"
	"path/filepath"
	"testing"

	"patchwork/vlm/data"
	"patchwork/vlm/tokenizer"
)

var testColors = []struct {
	name string
	rgb  color.RGBA
}{
	{"red", color.RGBA{220, 30, 30, 255}}, {"green", color.RGBA{20, 160, 40, 255}}, {"blue", color.RGBA{30, 60, 220, 255}},
}

// testData writes n rows: a coloured square and three questions about it.
func testData(t testing.TB, n int) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "train-00000-of-00001.parquet")
	w, err := data.Create(path)
	must(t, err)
	for i := range n {
		c := testColors[i%3]
		must(t, w.Write(data.Row{
			Images: [][]byte{testPicture(t, c.rgb, 4+i%17, 3+i%13, 20+i%11)},
			Turns: []data.Turn{
				{User: "what color is the shape?", Assistant: c.name},
				{User: "is there a red shape?", Assistant: map[bool]string{true: "yes", false: "no"}[i%3 == 0]},
				{User: fmt.Sprintf("is there not a %s shape?", c.name), Assistant: "no"},
			},
			Source: "test",
		}))
	}
	must(t, w.Close())
	return path
}

func testPicture(t testing.TB, c color.RGBA, x, y, side int) []byte {
	t.Helper()
	m := image.NewRGBA(image.Rect(0, 0, 64, 64))
	draw.Draw(m, m.Bounds(), image.White, image.Point{}, draw.Src)
	draw.Draw(m, image.Rect(x, y, x+side, y+side), image.NewUniform(c), image.Point{}, draw.Src)
	var out bytes.Buffer
	must(t, png.Encode(&out, m))
	return out.Bytes()
}

// testRecipe is the shapes preset cut down to seconds.
func testRecipe(t testing.TB, steps int) Recipe {
	t.Helper()
	r, err := Preset("shapes")
	must(t, err)
	r.Steps, r.SeqLen, r.PoolSize, r.Warmup, r.ValEvery, r.SaveEvery, r.ValRows = steps, 256, 16, 4, 0, 0, 4
	text := *r.Text
	text.NumHiddenLayers = 2
	r.Text = &text
	return r
}

// testQwen3 is a small decoder of Qwen3's kind: norms on queries and keys, fewer
// key heads, heads that are wider together than the hidden state.
func testQwen3(c TextConfig) *TextConfig {
	c.ModelType, c.NumAttentionHeads, c.NumKeyValueHeads, c.HeadDim = "qwen3", 4, 2, 32
	return &c
}

// plainIDs encodes a text that the tokenizer's pattern splits without trouble.
func plainIDs(tok *tokenizer.Tokenizer, text string) []int32 {
	ids, err := tok.EncodePlain(text)
	if err != nil {
		panic(err)
	}
	return ids
}
