package score

import (
	"math"
	"slices"
	"strings"
	"testing"
)

// Sentences of the BLEU paper, section 2.1.
var (
	paperReferences = []string{
		"It is a guide to action that ensures that the military will forever heed Party commands.",
		"It is the guiding principle which guarantees the military forces always being under the command of the Party.",
		"It is the practical guide for the army always to heed the directions of the party.",
	}
	paperGood = "It is a guide to action which ensures that the military always obeys the commands of the party."
	paperBad  = "It is to insure the troops forever hearing the activity guidebook that party direct."
)

func caption(candidate string, references ...string) Caption {
	c := Caption{Candidate: Words(candidate)}
	for _, r := range references {
		c.References = append(c.References, Words(r))
	}
	return c
}

// TestPrecision compares modified precisions with those in the paper.
func TestPrecision(t *testing.T) {
	the := caption(strings.Repeat("the ", 7), "The cat is on the mat.", "There is a cat on the mat.")
	for _, c := range []struct {
		name           string
		caption        Caption
		n              int
		matched, total int
	}{
		{"candidate 1, words", caption(paperGood, paperReferences...), 1, 17, 18},
		{"candidate 1, pairs", caption(paperGood, paperReferences...), 2, 10, 17},
		{"candidate 2, words", caption(paperBad, paperReferences...), 1, 8, 14},
		{"candidate 2, pairs", caption(paperBad, paperReferences...), 2, 1, 13},
		{"seven times the", the, 1, 2, 7},
		{"seven times the, pairs", the, 2, 0, 6},
	} {
		matched, total := c.caption.precision(c.n)
		if matched != c.matched || total != c.total {
			t.Errorf("%s: %d/%d, want %d/%d as in the paper", c.name, matched, total, c.matched, c.total)
		}
	}
}

// corpus was scored with COCO's caption evaluation (pycocoevalcap 1.2).
var corpus = []Caption{
	caption("a man riding a brown horse", "a man riding a horse on the beach", "a person rides a brown horse"),
	caption("two dogs in the snow snow snow", "two dogs play in the snow", "dogs running through snow"),
	caption("a red red bus on a street in the city at night time", "a red bus on a city street", "a bus drives down the street"),
	caption("a cat", "a plate of food with rice and beans", "rice and beans on a white plate"),
}

func TestBLEU(t *testing.T) {
	for _, c := range []struct {
		name     string
		captions []Caption
		want     float64
		within   float64
	}{
		// NLTK 3.9's corpus_bleu.
		{"the paper's candidate 1", []Caption{caption(paperGood, paperReferences...)}, 0.5045666840058485, 1e-12},
		// COCO's evaluation adds 1e-15 to counts.
		{"a corpus", corpus, 0.3350704079358773, 1e-9},
		{"a reference itself", []Caption{caption(paperReferences[0], paperReferences...)}, 1, 1e-12},
		// Precision 1, and 5 words for 18: exp(1 - 18/5).
		{"brief", []Caption{caption("under the command of the", paperReferences[1])}, math.Exp(1 - 18.0/5), 1e-12},
		{"nothing in common", []Caption{caption("a b c d", "e f g h")}, 0, 0},
		{"no words", []Caption{caption("", "a b c d")}, 0, 0},
	} {
		if got := BLEU(c.captions); math.Abs(got-c.want) > c.within {
			t.Errorf("%s: %.15g, want %.15g", c.name, got, c.want)
		}
	}
}

func TestCIDErD(t *testing.T) {
	want := []float64{3.74085852, 1.81782376, 1.30354241, 0.02856096}
	mean, each := CIDErD(corpus)
	for i := range want {
		if math.Abs(each[i]-want[i]) > 1e-8 { // the printed digits
			t.Errorf("caption %d: %.8f, want %.8f", i, each[i], want[i])
		}
	}
	if math.Abs(mean-1.7226964140064658) > 1e-12 {
		t.Errorf("mean %.16f", mean)
	}
	// All four cosines of a caption equal to its only reference are 1.
	same := []Caption{caption("a cat sat on mats", "a cat sat on mats"), caption("two dogs ran far away", "two dogs ran far away")}
	if mean, _ := CIDErD(same); math.Abs(mean-10) > 1e-12 {
		t.Errorf("a reference itself: %v, want 10", mean)
	}
	if mean, each := CIDErD(nil); mean != 0 || each != nil {
		t.Error("an empty corpus has a score")
	}
}

func TestWords(t *testing.T) {
	got := Words("A dog's ball — 2.5 cm, red-brown; «Größe»... don't!")
	want := []string{"a", "dog's", "ball", "2.5", "cm", "red-brown", "größe", "don't"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}
