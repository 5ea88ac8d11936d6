package main

import (
	"bytes"
	"crypto/sha256"
	"image/png"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"patchwork/vlm/data"
)

func TestSameFlagsSameBytes(t *testing.T) {
	a, b, other := t.TempDir(), t.TempDir(), t.TempDir()
	for _, o := range []options{{a, 20, 5, 3}, {b, 20, 5, 3}, {other, 20, 5, 4}} {
		if err := generate(o); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{trainFile, testFile} {
		if !bytes.Equal(read(t, a, name), read(t, b, name)) {
			t.Errorf("%s differs from one run to the next", name)
		}
		if bytes.Equal(read(t, a, name), read(t, other, name)) {
			t.Errorf("%s does not depend on the seed", name)
		}
	}
}

func read(t *testing.T, dir, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestNoTestImageInTrain(t *testing.T) {
	dir := t.TempDir()
	if err := generate(options{dir, 300, 100, 1}); err != nil {
		t.Fatal(err)
	}
	files := map[[sha256.Size]byte]string{}
	for name, want := range map[string]int{trainFile: 300, testFile: 100} {
		set, err := data.Open(t.Context(), data.Local(filepath.Join(dir, name)))
		if err != nil {
			t.Fatal(err)
		}
		if set.Len() != want {
			t.Errorf("%s has %d rows, want %d", name, set.Len(), want)
		}
		for i := range set.Len() {
			row, err := set.Row(i)
			if err != nil {
				t.Fatal(err)
			}
			if v := data.Check(row); v.Status != data.Use || v.Turns < 5 {
				t.Fatalf("%s: row %d: %+v", name, i, v)
			}
			hash := sha256.Sum256(row.Images[0])
			if earlier, seen := files[hash]; seen {
				t.Errorf("an image of %s is also in %s", name, earlier)
			}
			files[hash] = name
		}
	}
}

// TestFreshRow: an image that was drawn before is not used again.
func TestFreshRow(t *testing.T) {
	seen := map[[sha256.Size]byte]bool{}
	if _, err := freshRow(rand.New(rand.NewPCG(1, 0)), seen); err != nil {
		t.Fatal(err)
	}
	if _, err := freshRow(rand.New(rand.NewPCG(1, 0)), seen); err != nil || len(seen) != 2 {
		t.Errorf("the same random numbers: error %v, %d distinct images", err, len(seen))
	}
}

// TestPixels: the pixels at a shape's centre have its colour.
func TestPixels(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 0))
	for i := range 200 {
		s := randomScene(rng)
		data, err := s.png()
		if err != nil {
			t.Fatal(err)
		}
		img, err := png.Decode(bytes.NewReader(data))
		if err != nil {
			t.Fatal(err)
		}
		for _, sh := range s.shapes {
			if r, g, b, _ := img.At(int(sh.x), int(sh.y)).RGBA(); uint8(r>>8) != sh.fill.R || uint8(g>>8) != sh.fill.G || uint8(b>>8) != sh.fill.B {
				t.Fatalf("scene %d: %v at the middle of %+v", i, img.At(int(sh.x), int(sh.y)), sh)
			}
		}
		if c := img.At(0, 0); c != s.background {
			t.Errorf("scene %d: the corner is %v, the background %v", i, c, s.background)
		}
	}
}

// TestGuessing: the most frequent answer to each question is correct for at most half of
// them, so that the demo's accuracy depends on the image.
func TestGuessing(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 0))
	counts := map[string]map[string]int{}
	turns := 0
	for range 3000 {
		for _, turn := range randomScene(rng).questions(rng) {
			if counts[turn.User] == nil {
				counts[turn.User] = map[string]int{}
			}
			counts[turn.User][turn.Assistant]++
			turns++
		}
	}
	correct := 0
	for _, answers := range counts {
		best := 0
		for _, n := range answers {
			best = max(best, n)
		}
		correct += best
	}
	if guess := float64(correct) / float64(turns); guess > 0.5 {
		t.Errorf("guessing answers %.1f%% of the questions, want at most 50%%", 100*guess)
	}
}
