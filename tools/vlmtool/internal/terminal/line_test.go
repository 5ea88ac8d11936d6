package terminal

import (
	"math"
	"strings"
	"testing"
	"unicode/utf8"
)

// TestLayOut lays the line out in every width; fields of the highest rank are dropped first.
func TestLayOut(t *testing.T) {
	fields := []Field{
		{Text: "step 500/1000", Rank: 0}, {Text: "loss 0.1234", Rank: 1, Color: Bold}, {Text: "█▅▂▁", Rank: 4, Color: Blue},
		{Text: "9,999 tokens/s", Rank: 3}, {Text: "3 images/s", Rank: 5}, {Text: "2m0s left", Rank: 2},
	}
	for _, c := range []struct {
		width int
		want  string
	}{
		{200, "████████████████░░░░░░░░░░░░░░░░ step 500/1000  loss 0.1234  █▅▂▁  9,999 tokens/s  3 images/s  2m0s left"},
		{80, "████░░░░ step 500/1000  loss 0.1234  █▅▂▁  9,999 tokens/s  3 images/s  2m0s left"},
		{79, "██████████░░░░░░░░░ step 500/1000  loss 0.1234  █▅▂▁  9,999 tokens/s  2m0s left"},
		{67, "███████░░░░░░ step 500/1000  loss 0.1234  9,999 tokens/s  2m0s left"},
		{50, "██████░░░░░░ step 500/1000  loss 0.1234  2m0s left"},
		{40, "███████░░░░░░ step 500/1000  loss 0.1234"},
		{30, "████████░░░░░░░░ step 500/1000"},
		{22, "████░░░░ step 500/1000"},
		{21, "step 500/1000"},
		{8, "step 500"},
		{1, "s"},
		{0, ""},
	} {
		if got := layOut(0.5, fields, c.width, true); got != c.want {
			t.Errorf("%d cells:\n%s\n%s", c.width, got, c.want)
		}
	}
	for width := range 200 {
		plain, colored := layOut(0.5, fields, width, true), layOut(0.5, fields, width, false)
		if n := utf8.RuneCountInString(plain); n > width {
			t.Errorf("%d cells in a width of %d", n, width)
		}
		for _, code := range []string{Dim, Bold, Blue, Normal} {
			colored = strings.ReplaceAll(colored, code, "")
		}
		if colored != plain {
			t.Errorf("%d cells with colors:\n%s\n%s", width, colored, plain)
		}
	}
	if fields[4].Text != "3 images/s" {
		t.Error("layOut changed its argument")
	}
}

func TestSparkline(t *testing.T) {
	for _, c := range []struct {
		values []float64
		want   string
	}{
		{nil, ""},
		{[]float64{1}, "▁"},
		{[]float64{2, 2, 2}, "▁▁▁"},
		{[]float64{128, 64, 32, 16, 8, 4, 2, 1}, "█▇▆▅▄▃▂▁"},
		{[]float64{1, math.NaN(), 10, 0, math.Inf(1), -1}, "▁ █   "},
	} {
		if got := Sparkline(c.values); got != c.want {
			t.Errorf("%v: %q, want %q", c.values, got, c.want)
		}
	}
}

// TestShorten replaces control characters.
func TestShorten(t *testing.T) {
	for in, want := range map[string]string{
		"what  is\nthis?":           "what is this?",
		"a\x1b[2Jb\x07":             "a\uFFFD[2Jb\uFFFD",
		"\u202Eevil":                "\uFFFDevil",
		"ünïcödé":                   "ünïcödé",
		strings.Repeat("x", 30):     strings.Repeat("x", 19) + "…",
		"\xff" + string(rune(0x9b)): "\uFFFD\uFFFD",
	} {
		if got := Shorten(in, 20); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}
