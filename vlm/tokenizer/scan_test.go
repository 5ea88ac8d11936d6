package tokenizer

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// TestScanners compares the hand-written scanners with their patterns. The long s is left
// out: it folds to s in Hugging Face's engine and in the scanners, but not in regexp2.
func TestScanners(t *testing.T) {
	alphabet := []rune("ab129 \n\r\t'sStTdDlLreRE.,!_-é½٣①　\u00a0漢🙂\u0301")
	random := rand.New(rand.NewPCG(1, 2))
	var texts []string
	for range 3000 {
		var b strings.Builder
		for range random.IntN(16) {
			b.WriteRune(alphabet[random.IntN(len(alphabet))])
		}
		texts = append(texts, b.String())
	}
	for _, c := range []struct {
		pattern string
		next    func(string) int
	}{{gpt2Pattern, gpt2Next}, {qwenPattern, qwenNext}, {llamaPattern, llamaNext}} {
		slow, err := patternStage(c.pattern)
		if err != nil {
			t.Fatal(err)
		}
		pieces := func(s stage, text string) (out []string) {
			if err := s(text, func(lo, hi int) error { out = append(out, text[lo:hi]); return nil }); err != nil {
				t.Fatal(err)
			}
			return out
		}
		for _, text := range texts {
			if got, want := pieces(scan(c.next), text), pieces(slow, text); !slices.Equal(got, want) {
				t.Errorf("%.20s… on %q: %q, want %q", c.pattern, text, got, want)
			}
		}
	}
}
