package vp8

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"encoding/json"
	"errors"
	"image"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"

	original "golang.org/x/image/vp8"

	"patchwork/internal/require"
)

// decodeOriginal is Decode by golang.org/x/image.
func decodeOriginal(frame []byte) (*image.YCbCr, error) {
	d := original.NewDecoder()
	d.Init(bytes.NewReader(frame), len(frame))
	if _, err := d.DecodeFrameHeader(); err != nil {
		return nil, err
	}
	return d.DecodeFrame()
}

// compare compares the verdicts on a frame, and the pixels. It returns whether both decode it.
func compare(t *testing.T, frame []byte) bool {
	t.Helper()
	if w, h, err := Size(frame); err == nil && w*h > 1<<16 {
		return false
	}
	got, err := Decode(frame)
	if errors.Is(err, ErrUnsupported) || errors.Is(err, ErrInvalidCode) {
		return false
	}
	want, wantErr := decodeOriginal(frame)
	if (err == nil) != (wantErr == nil) || (err == io.ErrUnexpectedEOF) != (wantErr == io.ErrUnexpectedEOF) {
		t.Fatalf("the error is %v, want %v", err, wantErr)
	}
	if err != nil || overflows(frame) {
		return false
	}
	if got.Rect != want.Rect {
		t.Fatalf("the size is %v, want %v", got.Rect, want.Rect)
	}
	for y := range got.Rect.Max.Y {
		for x := range got.Rect.Max.X {
			if g, w := got.YCbCrAt(x, y), want.YCbCrAt(x, y); g != w {
				t.Fatalf("%v: pixel (%d, %d) is %v, want %v", got.Rect, x, y, g, w)
			}
		}
	}
	return true
}

// overflows reports whether a frame's level of the loop filter exceeds eight bits with its
// deltas, in which golang.org/x/image computes it; RFC 6386 clamps it to between 0 and 63.
func overflows(frame []byte) bool {
	tag, err := parseTag(frame)
	if err != nil {
		return false
	}
	d, err := newBoolDecoder(frame[tagBytes:][:tag.firstPartition])
	if err != nil {
		return false
	}
	h := parseHeader(d, new(tokenProbs))
	low, high := 0, 0
	if h.enabled {
		low, high = slices.Min(h.filterLevel[:]), slices.Max(h.filterLevel[:])
	}
	level := h.filter.intraDelta
	if !(h.enabled && h.absolute) {
		level += h.filter.level
	}
	high += max(0, h.filter.subblockDelta)
	low += min(0, h.filter.subblockDelta)
	return level+high > math.MaxInt8 || level+low < math.MinInt8
}

// frames returns the frames of the lossy WebP files among the forms of vlm/image.
func frames(t testing.TB) (all [][]byte) {
	f, err := os.Open("../testdata/forms/pictures.json.gz")
	require.NoError(t, err)
	defer f.Close()
	r, err := gzip.NewReader(f)
	require.NoError(t, err)
	var forms []struct {
		Name string
		File []byte
	}
	require.NoError(t, json.NewDecoder(r).Decode(&forms))
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

// TestOriginal compares with golang.org/x/image/vp8, also for damaged frames.
func TestOriginal(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for i, frame := range frames(t) {
		if !compare(t, frame) {
			t.Errorf("frame %d is refused", i)
		}
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

// TestRandomCode compares frames of random bytes after a valid tag: all modes, filters,
// segments and partitions, with coefficients that no encoder writes.
func TestRandomCode(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	decoded := 0
	for range 4000 {
		frame := make([]byte, tagBytes+3000+r.IntN(9000))
		for i := range frame {
			frame[i] = byte(r.Uint32() >> r.IntN(2))
		}
		const first = 2500
		copy(frame, []byte{0x10 | first<<5&0xff, first >> 3 & 0xff, first >> 11, 0x9d, 0x01, 0x2a})
		binary.LittleEndian.PutUint16(frame[6:], uint16(1+r.IntN(70)))
		binary.LittleEndian.PutUint16(frame[8:], uint16(1+r.IntN(70)))
		for i := range 7 { // the sizes of partitions, if there are several
			copy(frame[tagBytes+first+3*i:], []byte{byte(r.Uint32()), byte(r.IntN(2)), 0})
		}
		if compare(t, frame) {
			decoded++
		}
	}
	if decoded < 3000 {
		t.Errorf("%d frames are decoded", decoded)
	}
}

func FuzzOriginal(f *testing.F) {
	for _, frame := range frames(f) {
		f.Add(frame)
	}
	f.Fuzz(func(t *testing.T, frame []byte) { compare(t, frame) })
}
