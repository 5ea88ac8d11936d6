package loader

import (
	"bytes"
	"image"
	"image/jpeg"
	"math/rand/v2"
	"path/filepath"
	"testing"

	"patchwork/internal/require"
	"patchwork/vlm/data"
)

// photoJPEG returns a JPEG of 640×480 with as many bytes as a photograph, some 90 KB.
func photoJPEG(b *testing.B) []byte {
	r := rand.New(rand.NewPCG(1, 2))
	m := image.NewRGBA(image.Rect(0, 0, 640, 480))
	for y := range 480 {
		for x := range 640 {
			for k := range 3 {
				m.Pix[m.PixOffset(x, y)+k] = byte(60 + x/8 + y/8 + k*10 + r.IntN(28))
			}
		}
	}
	var file bytes.Buffer
	require.NoError(b, jpeg.Encode(&file, m, &jpeg.Options{Quality: 90}))
	return file.Bytes()
}

// BenchmarkLoader reads, shuffles, encodes, packs and decodes rows with an image of 640×480,
// which becomes 512×512, without a model. -cpu 1 measures a core.
func BenchmarkLoader(b *testing.B) {
	file, photo := filepath.Join(b.TempDir(), "photos.parquet"), photoJPEG(b)
	w, err := data.Create(file)
	require.NoError(b, err)
	w.GroupRows = 100
	const rows = 400
	for range rows {
		row := data.Row{Images: [][]byte{photo}, Turns: []data.Turn{{User: "what color is the shape?", Assistant: "red"}}}
		require.NoError(b, w.Write(row))
	}
	require.NoError(b, w.Close())
	c := testConfig()
	c.Shuffle.Buffer, c.BatchSize, c.SeqLen = 200, 2, 1200
	c.Vision.ImageSize, c.Vision.PatchSize = 512, 32
	l := loaderOf(b, file, c, Part{})
	images := 0
	for b.Loop() {
		require.NoError(b, l.Epoch(b.Context(), 0, 0, func(s *Step) bool {
			for _, batch := range s.Batches {
				images += len(batch.Images)
			}
			return true
		}))
	}
	b.ReportMetric(float64(images)/b.Elapsed().Seconds(), "images/s")
	b.ReportMetric(float64(len(photo))/1024, "KiB")
}
