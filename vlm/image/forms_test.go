package image

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"os"
	"testing"

	"patchwork/internal/require"
)

// A form is a tiny image file and its pixels according to Pillow (testdata/forms/make.py).
type form struct {
	Name string
	File []byte
	W, H int
	RGB  []byte
	Near int // tolerance, if the decoders differ
}

func readForms(t testing.TB) (forms []form) {
	t.Helper()
	f, err := os.Open("testdata/forms/pictures.json.gz")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.NewDecoder(r).Decode(&forms); err != nil {
		t.Fatal(err)
	}
	if len(forms) < 250 {
		t.Fatalf("%d forms", len(forms))
	}
	return forms
}

// TestForms compares every form of every format with Pillow's pixels: bit for bit, except
// AVIF and Lab, whose decoders differ in rounding.
func TestForms(t *testing.T) {
	for _, f := range readForms(t) {
		t.Run(f.Name, func(t *testing.T) {
			w, h, _, err := DecodeConfig(f.File)
			if w != f.W || h != f.H || err != nil {
				t.Errorf("DecodeConfig: %dx%d, %v, want %dx%d", w, h, err, f.W, f.H)
			}
			img, err := Decode(f.File)
			if err != nil {
				t.Fatal(err)
			}
			if img.W != f.W || img.H != f.H {
				t.Fatalf("%dx%d, want %dx%d", img.W, img.H, f.W, f.H)
			}
			wrong, worst, first := 0, 0, -1
			for i, v := range img.Pix {
				if d := max(int(v)-int(f.RGB[i]), int(f.RGB[i])-int(v)); d > f.Near {
					wrong, worst = wrong+1, max(worst, d)
					if first < 0 {
						first = i
					}
				}
			}
			if wrong > 0 {
				t.Errorf("%d of %d values are off, by up to %d; pixel %d,%d channel %d is %d, want %d",
					wrong, len(img.Pix), worst, first/3%f.W, first/3/f.W, first%3, img.Pix[first], f.RGB[first])
			}
		})
	}
}

// TestLossyWebP: our decoder decodes every lossy form without alpha, so that none depends on
// that for the others.
func TestLossyWebP(t *testing.T) {
	decoded := 0
	for _, f := range readForms(t) {
		if _, kind, ok := bytes.Cut(f.File[:min(16, len(f.File))], []byte("WEBP")); !ok || string(kind) != "VP8 " {
			continue
		}
		hd, err := readHeader(f.File)
		require.NoError(t, err)
		if decodeLossyWebP(f.File, hd) == nil {
			t.Errorf("%s is left to golang.org/x/image", f.Name)
		}
		decoded++
	}
	if decoded < 5 {
		t.Errorf("%d lossy forms", decoded)
	}
}
