package image

import (
	"bytes"
	"image/png"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"patchwork/internal/golden"
)

// goldenImages is the index of the golden family "images".
type goldenImages struct {
	Images []goldenImage
}

type goldenImage struct {
	File          string
	Format, Mode  string
	Width, Height int
	Required      bool
	Expected      []struct {
		Size        int
		File        string
		Resized     [2]int
		CropLeftTop [2]int `json:"crop_left_top"`
		White       string
		HighByte    string `json:"high_byte"`
	}
}

// readGolden reads the index of the golden images.
func readGolden(t *testing.T) (folder string, index goldenImages) {
	t.Helper()
	folder = golden.Dir(t, "images")
	golden.JSON(t, filepath.Join(folder, "index.json"), &index)
	return folder, index
}

func TestGoldenPreprocess(t *testing.T) {
	folder, index := readGolden(t)
	for _, entry := range index.Images {
		t.Run(filepath.Base(entry.File), func(t *testing.T) {
			data := readFile(t, filepath.Join(folder, entry.File))
			img := mustDecode(t, data)
			f := sniff(data)
			turned := f.upright != nil && f.upright(data) != 1
			if !turned && (img.W != entry.Width || img.H != entry.Height) {
				t.Fatalf("decoded to %dx%d, want %dx%d", img.W, img.H, entry.Width, entry.Height)
			}
			for _, e := range entry.Expected {
				seen := img
				if turned { // the golden image is not rotated: compare the pixels as stored
					seen = mustDecode(t, withoutExif(data))
				}
				w, h := resizedSize(seen.W, seen.H, e.Size)
				if [2]int{w, h} != e.Resized {
					t.Errorf("size %d: resized to %dx%d, want %v", e.Size, w, h, e.Resized)
				}
				if got := [2]int{cropOffset(w, e.Size), cropOffset(h, e.Size)}; got != e.CropLeftTop {
					t.Errorf("size %d: cropped at %v, want %v", e.Size, got, e.CropLeftTop)
				}
				want := e.File
				if e.White != "" {
					want = e.White
				}
				if e.HighByte != "" {
					want = e.HighByte
				}
				compare(t, want, Preprocess(seen, e.Size), readPixels(t, filepath.Join(folder, want)))
			}
		})
	}
}

func compare(t *testing.T, name string, got, want []byte) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%s: %d bytes, want %d", name, len(got), len(want))
	}
	worst, at := 0, 0
	for i := range got {
		if d := max(int(got[i])-int(want[i]), int(want[i])-int(got[i])); d > worst {
			worst, at = d, i
		}
	}
	if worst > 0 {
		t.Errorf("%s: off by up to %d, at byte %d (got %d, want %d)", name, worst, at, got[at], want[at])
	}
}

// readPixels reads a golden PNG with the standard library alone.
func readPixels(t *testing.T, path string) []byte {
	t.Helper()
	m, err := png.Decode(bytes.NewReader(readFile(t, path)))
	if err != nil {
		t.Fatal(err)
	}
	var pix []byte
	b := m.Bounds()
	for y := b.Min.Y; y < b.Max.Y; y++ {
		for x := b.Min.X; x < b.Max.X; x++ {
			r, g, b, _ := m.At(x, y).RGBA()
			pix = append(pix, byte(r>>8), byte(g>>8), byte(b>>8))
		}
	}
	return pix
}

// withoutExif changes the name of the EXIF segment, so that it is ignored.
func withoutExif(data []byte) []byte {
	return []byte(strings.Replace(string(data), "Exif\x00", "None\x00", 1))
}

func readFile(t *testing.T, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func mustDecode(t *testing.T, data []byte) *RGB {
	t.Helper()
	img, err := Decode(data)
	if err != nil {
		t.Fatal(err)
	}
	return img
}
