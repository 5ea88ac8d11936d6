package vlmtest

import (
	"bytes"
	"fmt"
	"image"
	"image/color"
	"image/draw"
	"image/png"
	"path/filepath"
	"testing"

	"patchwork/internal/require"
	"patchwork/vlm/data"
	"patchwork/vlm/tokenizer"
)

// Colors are the colours of the squares.
var Colors = []struct {
	Name string
	RGB  color.RGBA
}{
	{"red", color.RGBA{220, 30, 30, 255}}, {"green", color.RGBA{20, 160, 40, 255}}, {"blue", color.RGBA{30, 60, 220, 255}},
}

// Data writes a dataset of n rows: an image of a coloured square and three questions about it.
func Data(t testing.TB, n int) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "train-00000-of-00001.parquet")
	w, err := data.Create(path)
	require.NoError(t, err)
	for i := range n {
		c := Colors[i%3]
		require.NoError(t, w.Write(data.Row{
			Images: [][]byte{Image(t, c.RGB, 4+i%17, 3+i%13, 20+i%11)},
			Turns: []data.Turn{
				{User: "what color is the shape?", Assistant: c.Name},
				{User: "is there a red shape?", Assistant: map[bool]string{true: "yes", false: "no"}[i%3 == 0]},
				{User: fmt.Sprintf("is there not a %s shape?", c.Name), Assistant: "no"},
			},
			Source: "test",
		}))
	}
	require.NoError(t, w.Close())
	return path
}

// MixedData writes n rows in row groups of 9; every seventh has no answer, every eleventh a broken
// image, every thirteenth a null one.
func MixedData(t testing.TB, n int) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "mixed.parquet")
	w, err := data.Create(path)
	require.NoError(t, err)
	w.GroupRows = 9
	for i := range n {
		c := Colors[i%3]
		r := data.Row{Images: [][]byte{Image(t, c.RGB, 4+i%17, 3+i%13, 20+i%11)}, Turns: []data.Turn{{User: "what color is the shape?", Assistant: c.Name}}}
		for k := range i % 5 {
			r.Turns = append(r.Turns, data.Turn{User: fmt.Sprintf("is there a red shape %d?", k), Assistant: "yes"})
		}
		switch {
		case i%7 == 6:
			r.Turns = r.Turns[:1]
			r.Turns[0].Assistant = " "
		case i%11 == 10:
			r.Images[0] = []byte("no image")
		case i%13 == 12:
			r.Images[0] = nil
		}
		require.NoError(t, w.Write(r))
	}
	require.NoError(t, w.Close())
	return path
}

// ShapesData writes n rows with images of many sizes and shapes, some of two images: coloured squares
// on white, and questions about the colour and whether the image is wide or tall.
func ShapesData(t testing.TB, n int) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "shapes-00000-of-00001.parquet")
	w, err := data.Create(path)
	require.NoError(t, err)
	for i := range n {
		c := Colors[i%3]
		width, height := Sizes[i%len(Sizes)][0], Sizes[i%len(Sizes)][1]
		r := data.Row{Source: "test", Images: [][]byte{ImageOf(t, width, height, c.RGB, i%5, i%3, 12)}}
		if i%7 == 3 {
			r.Images = append(r.Images, ImageOf(t, height, width, c.RGB, 2, 1, 10))
		}
		r.Turns = []data.Turn{
			{User: "what color is the shape?", Assistant: c.Name},
			{User: "is the image wide?", Assistant: map[bool]string{true: "yes", false: "no"}[width > height]},
		}
		require.NoError(t, w.Write(r))
	}
	require.NoError(t, w.Close())
	return path
}

// Sizes are widths and heights of images: squares, wide, tall, small, a ribbon, and larger than a
// model takes.
var Sizes = [][2]int{{64, 64}, {96, 32}, {32, 96}, {24, 16}, {130, 20}, {200, 150}, {40, 56}}

// Image returns a PNG of 64×64 pixels with a square on white.
func Image(t testing.TB, c color.RGBA, x, y, side int) []byte {
	t.Helper()
	return ImageOf(t, 64, 64, c, x, y, side)
}

// ImageOf is Image of a size.
func ImageOf(t testing.TB, width, height int, c color.RGBA, x, y, side int) []byte {
	t.Helper()
	m := image.NewRGBA(image.Rect(0, 0, width, height))
	draw.Draw(m, m.Bounds(), image.White, image.Point{}, draw.Src)
	draw.Draw(m, image.Rect(x, y, x+side, y+side), image.NewUniform(c), image.Point{}, draw.Src)
	var out bytes.Buffer
	require.NoError(t, png.Encode(&out, m))
	return out.Bytes()
}

// PlainIDs encodes a text without control tokens.
func PlainIDs(tok *tokenizer.Tokenizer, text string) []int32 {
	ids, err := tok.EncodePlain(text)
	if err != nil {
		panic(err)
	}
	return ids
}
