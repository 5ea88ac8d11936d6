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

func TestTestPicturesAreNotInTrain(t *testing.T) {
	dir := t.TempDir()
	if err := generate(options{dir, 300, 100, 1}); err != nil {
		t.Fatal(err)
	}
	files := map[[sha256.Size]byte]string{}
	for name, want := range map[string]int{trainFile: 300, testFile: 100} {
		set, err := data.Open([]string{filepath.Join(dir, name)})
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
				t.Errorf("a picture of %s is in %s too", name, earlier)
			}
			files[hash] = name
		}
	}
}

// A picture drawn twice in the whole space is refused, not written.
func TestFreshRowRefusesWhatItHasSeen(t *testing.T) {
	seen := map[[sha256.Size]byte]bool{}
	if _, err := freshRow(rand.New(rand.NewPCG(1, 0)), seen); err != nil {
		t.Fatal(err)
	}
	if _, err := freshRow(rand.New(rand.NewPCG(1, 0)), seen); err != nil || len(seen) != 2 {
		t.Errorf("the same draws again: error %v, %d different pictures", err, len(seen))
	}
}

// The answers are what the pixels say: the shape's colour is where the shape is.
func TestShapesAreDrawnWhereTheyAre(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 0))
	for i := range 200 {
		s := randomScene(rng)
		data, err := s.png()
		if err != nil {
			t.Fatal(err)
		}
		picture, err := png.Decode(bytes.NewReader(data))
		if err != nil {
			t.Fatal(err)
		}
		for _, sh := range s.shapes {
			if r, g, b, _ := picture.At(int(sh.x), int(sh.y)).RGBA(); uint8(r>>8) != sh.fill.R || uint8(g>>8) != sh.fill.G || uint8(b>>8) != sh.fill.B {
				t.Fatalf("scene %d: %v at the middle of %+v", i, picture.At(int(sh.x), int(sh.y)), sh)
			}
		}
		if c := picture.At(0, 0); c != s.background {
			t.Errorf("scene %d: the corner is %v, the background %v", i, c, s.background)
		}
	}
}

// Guessing the most frequent answer to each question must not do: a model that
// does not look would seem to have learnt.
func TestGuessingIsNotEnough(t *testing.T) {
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
	right := 0
	for _, answers := range counts {
		best := 0
		for _, n := range answers {
			best = max(best, n)
		}
		right += best
	}
	if guess := float64(right) / float64(turns); guess > 0.5 {
		t.Errorf("guessing answers %.1f%% of the questions, at most 50%% are wanted", 100*guess)
	}
}
