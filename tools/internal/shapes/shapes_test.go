package shapes

import (
	"bytes"
	"image/png"
	"math/rand/v2"
	"testing"
)

// TestRow: an image that was drawn before is not used again.
func TestRow(t *testing.T) {
	g := New(1)
	if _, err := g.row(); err != nil {
		t.Fatal(err)
	}
	g.rng = New(1).rng
	if _, err := g.row(); err != nil || len(g.seen) != 2 {
		t.Errorf("the same random numbers: error %v, %d distinct images", err, len(g.seen))
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
