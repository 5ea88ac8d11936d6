package vp8

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"image"
	"math/rand/v2"
	"os"
	"strings"
	"testing"

	original "golang.org/x/image/vp8"
)

// decode decodes a frame; planes is nil if that fails.
func decode(frame []byte) (planes *image.YCbCr, err error) {
	d := NewDecoder()
	d.Init(bytes.NewReader(frame), len(frame))
	if h, err := d.DecodeFrameHeader(); err != nil || h.Width*h.Height > 1<<16 {
		return nil, err
	}
	return d.DecodeFrame()
}

// decodeOriginal is decode by golang.org/x/image.
func decodeOriginal(frame []byte) (planes *image.YCbCr, err error) {
	d := original.NewDecoder()
	d.Init(bytes.NewReader(frame), len(frame))
	if h, err := d.DecodeFrameHeader(); err != nil || h.Width*h.Height > 1<<16 {
		return nil, err
	}
	return d.DecodeFrame()
}

// frames returns the frames of the lossy WebP files among the forms of vlm/image.
func frames(t testing.TB) (all [][]byte) {
	f, err := os.Open("../testdata/forms/pictures.json.gz")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	var forms []struct {
		Name string
		File []byte
	}
	if err := json.NewDecoder(r).Decode(&forms); err != nil {
		t.Fatal(err)
	}
	for _, form := range forms {
		if _, frame, ok := bytes.Cut(form.File, []byte("VP8 ")); ok && strings.HasPrefix(form.Name, "webp") {
			all = append(all, frame[4:])
		}
	}
	if len(all) < 5 {
		t.Fatalf("%d lossy frames", len(all))
	}
	return all
}

// compare compares verdicts and planes.
func compare(t *testing.T, frame []byte) {
	t.Helper()
	got, err := decode(frame)
	want, wantErr := decodeOriginal(frame)
	switch {
	case err == ErrInvalidState:
	case (err == nil) != (wantErr == nil) || err != nil && err.Error() != wantErr.Error():
		t.Fatalf("%v, want %v", err, wantErr)
	case got == nil || want == nil:
	case !bytes.Equal(got.Y, want.Y) || !bytes.Equal(got.Cb, want.Cb) || !bytes.Equal(got.Cr, want.Cr):
		t.Fatal("the planes differ")
	}
}

// TestOriginal compares with golang.org/x/image/vp8, also for damaged frames.
func TestOriginal(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for _, frame := range frames(t) {
		compare(t, frame)
		for i := range 300 {
			damaged := bytes.Clone(frame)
			if i%3 == 0 {
				damaged = damaged[:r.IntN(len(damaged))]
			}
			for range i % 4 {
				if at := r.IntN(len(frame)); at < len(damaged) {
					damaged[at] = byte(r.Uint32())
				}
			}
			compare(t, damaged)
		}
	}
}

func FuzzOriginal(f *testing.F) {
	for _, frame := range frames(f) {
		f.Add(frame)
	}
	f.Fuzz(compare)
}
