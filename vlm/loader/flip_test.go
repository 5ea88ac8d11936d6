package loader

import (
	"bytes"
	"maps"
	"sync"
	"testing"

	"patchwork/internal/require"
	"patchwork/vlm/data"
	"patchwork/vlm/internal/vlmtest"
)

func TestNamesSide(t *testing.T) {
	for text, want := range map[string]bool{
		"what color is the shape?":                     false,
		"Is there a bright, upright triangle?":         false,
		"A man stands beside a portrait, facing away.": false,
		"three (or four) dogs":                         false,
		"":                                             false,
		"the cup on the left":                          true,
		"RIGHT.":                                       true,
		"in the leftmost column":                       true,
		"the right-hand lane":                          true,
		"turn clockwise":                               true,
		"What does it say? It reads OPEN":              true,
		"the words on the banner":                      true,
		"a stop sign":                                  true,
		"a banner with \"SALE\" on it":                 true,
		"the clock shows noon":                         true,
		"the western shore":                            true,
		"the dog is at [0.12, 0.40]":                   true,
		"at (120, 64)":                                 true,
		"<loc0123> cat":                                true,
		"der Hund links":                               true,
		"le chat à gauche":                             true,
		"左边的狗":                                         true,
		"a handwritten note":                           true,
		"What is the number on the player's shirt? Seven": true,
	} {
		if got := namesSide(text); got != want {
			t.Errorf("%q names a side: %v, want %v", text, got, want)
		}
	}
	turn := func(user, assistant string) data.Turn { return data.Turn{User: user, Assistant: assistant} }
	if mirrorable(&data.Row{Turns: []data.Turn{turn("what is it?", "a dog"), turn("where is it?", "on the left")}}) {
		t.Error("a row is mirrored although its last answer names a side")
	}
}

func TestMirror(t *testing.T) {
	for _, c := range []struct{ in, want []byte }{
		{[]byte{1, 2, 3}, []byte{1, 2, 3}},
		{[]byte{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}, []byte{4, 5, 6, 1, 2, 3, 10, 11, 12, 7, 8, 9}},
		{[]byte("aAabBbcCcdDdeEefFfgGghHhiIi"), []byte("cCcbBbaAafFfeEedDdiIihHhgGg")},
	} {
		size := map[int]int{3: 1, 12: 2, 27: 3}[len(c.in)]
		got := bytes.Clone(c.in)
		if mirror(got, size, 3); !bytes.Equal(got, c.want) {
			t.Errorf("mirror of %v is %v, want %v", c.in, got, c.want)
		}
	}
}

// flipFile writes n rows, each with an image that differs from its mirror image; every fifth row
// names a side.
func flipFile(t *testing.T, n int) string {
	t.Helper()
	path := t.TempDir() + "/flip.parquet"
	w, err := data.Create(path)
	require.NoError(t, err)
	w.GroupRows = 9
	for i := range n {
		question := "what color is the shape?"
		if i%5 == 4 {
			question = "is the shape on the left?"
		}
		require.NoError(t, w.Write(data.Row{
			Images: [][]byte{vlmtest.Image(t, vlmtest.Colors[i%3].RGB, 2+i%11, 3+i%13, 20)},
			Turns:  []data.Turn{{User: question, Assistant: "yes"}, {User: "is it red?", Assistant: "no"}},
		}))
	}
	require.NoError(t, w.Close())
	return path
}

// mirrored returns, for every row of an epoch from a packed row on, whether its image is mirrored.
func (l *Loader) mirrored(t *testing.T, epoch, skip int) map[int]bool {
	t.Helper()
	out := map[int]bool{}
	size := l.Vision.ImageSize * l.Vision.ImageSize * 3
	err := l.Epoch(t.Context(), epoch, skip, func(s *Step) bool {
		for _, b := range s.Batches {
			for i, image := range b.Images {
				row, err := l.dataset.Row(image.Row)
				if err != nil {
					t.Error(err)
					return false
				}
				plain, _ := data.Prepare(row, data.Media{Images: l.Vision.Fit()})
				pixels := b.Pixels[i*size:][:size]
				flipped := bytes.Clone(plain.Images[0])
				mirror(flipped, l.Vision.ImageSize, 3)
				if !bytes.Equal(pixels, plain.Images[0]) && !bytes.Equal(pixels, flipped) || bytes.Equal(plain.Images[0], flipped) {
					t.Errorf("row %d: its pixels are neither its image nor the mirror image", image.Row)
				}
				is := bytes.Equal(pixels, flipped)
				if before, seen := out[image.Row]; seen && before != is {
					t.Errorf("row %d is mirrored in one packed row and not in another", image.Row)
				}
				out[image.Row] = is
			}
		}
		return true
	})
	if err != nil {
		t.Error(err)
	}
	return out
}

// TestFlip: which rows are mirrored depends on the seed and the epoch, and not on the micro-batches,
// the ranks or where a run is resumed; rows that name a side are never mirrored.
func TestFlip(t *testing.T) {
	file, c := flipFile(t, 200), testConfig()
	for _, pixels := range loaderOf(t, file, c, Part{}).mirrored(t, 0, 0) {
		if pixels {
			t.Fatal("an image is mirrored without Flip")
		}
	}
	c.Flip = true
	want := loaderOf(t, file, c, Part{}).mirrored(t, 1, 0)
	flipped := 0
	for row, is := range want {
		if is {
			flipped++
		}
		if is && row%5 == 4 {
			t.Errorf("row %d is mirrored although it names a side", row)
		}
	}
	if len(want) != 200 || flipped < 60 || flipped > 100 { // 160 may be: 80 ± 3 standard deviations
		t.Errorf("%d of %d rows are mirrored", flipped, len(want))
	}
	for _, split := range []struct{ ranks, batch, accumulate, skip int }{{1, 1, 4, 0}, {1, 2, 1, 8}, {2, 2, 1, 0}, {4, 1, 1, 12}} {
		d := c
		d.BatchSize, d.Accumulate = split.batch, split.accumulate
		exchange := newExchange(split.ranks)
		parts := make([]map[int]bool, split.ranks)
		var group sync.WaitGroup
		for rank := range split.ranks {
			l := loaderOf(t, file, d, Part{rank, split.ranks, exchangeEnd{exchange, rank}})
			group.Go(func() { parts[rank] = l.mirrored(t, 1, split.skip) })
		}
		group.Wait()
		seen := 0
		for _, part := range parts {
			for row, is := range part {
				if seen++; is != want[row] {
					t.Errorf("%+v: row %d is mirrored: %v, want %v", split, row, is, want[row])
				}
			}
		}
		if seen < 100 {
			t.Errorf("%+v: only %d rows", split, seen)
		}
	}
	other := c
	other.Shuffle.Seed++
	for what, got := range map[string]map[int]bool{
		"epoch": loaderOf(t, file, c, Part{}).mirrored(t, 2, 0), "seed": loaderOf(t, file, other, Part{}).mirrored(t, 1, 0),
	} {
		if maps.Equal(got, want) {
			t.Errorf("the same rows are mirrored with another %s", what)
		}
	}
}
