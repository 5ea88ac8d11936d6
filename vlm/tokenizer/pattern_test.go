package tokenizer

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dlclark/regexp2"
)

// realPatterns are the patterns of published tokenizers, by model.
var realPatterns = map[string]string{
	"GPT-2":               gpt2Pattern,
	"Llama 3":             llamaPattern,
	"Qwen 2":              qwenPattern,
	"Qwen 3.5":            `(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`,
	"GPT-4o":              `[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+`,
	"Mistral Nemo":        `[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+`,
	"DeepSeek V3, digits": `\p{N}{1,3}`,
	"DeepSeek V3, Han":    `[一-龥぀-ゟ゠-ヿ]+`,
	"DeepSeek V3":         "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+" + `|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`,
	"DeepSeek, lines":     `[\r\n]`,
	"DeepSeek, words":     `\s?\p{L}+`,
	"DeepSeek, marks":     `\s?\p{P}+`,
	"SuperBPE":            `\p{N}{1,3}(?=(?:\p{N}{3})*\b)`,
	"StarCoder":           `\p{N}`,
	"Tiktoken":            `'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+`,
}

// hardTexts are uniform texts of n characters that are slow to match.
func hardTexts(n int) map[string]string {
	mixed := make([]rune, n)
	r := rand.New(rand.NewPCG(1, 2))
	alphabet := []rune("aAbZé ßǅ一ぁ1２৩  \n\r\t'sS't.,!/|\u0301\u200d😀")
	for i := range mixed {
		mixed[i] = alphabet[r.IntN(len(alphabet))]
	}
	return map[string]string{
		"letters": strings.Repeat("a", n), "capitals": strings.Repeat("A", n), "spaces": strings.Repeat(" ", n), "spaces and an end": strings.Repeat(" ", n-1) + "a",
		"lines": strings.Repeat("\n", n), "punctuation": strings.Repeat("!", n), "apostrophes": strings.Repeat("'", n), "Han": strings.Repeat("一", n),
		"words": strings.Repeat("The quick, brown fox's 12 hounds\n", n/33+1), "mixed": string(mixed), "marks": strings.Repeat("a\u0301", n/2), "tabs and lines": strings.Repeat(" \t\r\n", n/4),
	}
}

// pieces returns the pieces of a text split by a pattern without limits.
func pieces(t *testing.T, pattern, text string) (out []string) {
	runes, done := []rune(text), 0
	add := func(to int) {
		if done < to {
			out = append(out, string(runes[done:to]))
		}
		done = to
	}
	re := regexp2.MustCompile(pattern, regexp2.None)
	m, err := re.FindStringMatch(text)
	for ; m != nil && err == nil; m, err = re.FindNextMatch(m) {
		add(m.Index)
		add(m.Index + m.Length)
	}
	if err != nil {
		t.Fatal(err)
	}
	add(len(runes))
	return out
}

func stageOf(t *testing.T, pattern string) stage {
	t.Helper()
	s, err := patternStage(pattern)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func cut(s stage, text string) (out []string, err error) {
	err = s(text, func(lo, hi int) error {
		out = append(out, text[lo:hi])
		return nil
	})
	return out, err
}

// Published patterns stay far below the limits and split every text as without them.
func TestRealPatterns(t *testing.T) {
	for name, pattern := range realPatterns {
		t.Run(name, func(t *testing.T) {
			for kind, text := range hardTexts(2000) {
				s := stageOf(t, pattern)
				got, err := cut(s, text)
				if want := pieces(t, pattern, text); err != nil || !slices.Equal(got, want) {
					t.Fatalf("%s: %d pieces, want %d (%v)", kind, len(got), len(want), err)
				}
			}
			const n = 64 << 10
			for kind, text := range hardTexts(n) {
				start := time.Now()
				_, err := cut(stageOf(t, pattern), text)
				if err != nil {
					t.Errorf("%s: %v", kind, err)
				} else {
					t.Logf("%-20s %6.2f MB/s", kind, float64(len(text))/1e6/time.Since(start).Seconds())
				}
			}
		})
	}
}

// The hand-written scanners split hard texts like their patterns.
func TestScannersMatchPatterns(t *testing.T) {
	for pattern, next := range map[string]func(string) int{gpt2Pattern: gpt2Next, llamaPattern: llamaNext, qwenPattern: qwenNext} {
		for kind, text := range hardTexts(2000) {
			got, err := cut(scan(next), text)
			if want := pieces(t, pattern, text); err != nil || !slices.Equal(got, want) {
				t.Errorf("%.40s, %s: %d pieces, want %d (%v)", pattern, kind, len(got), len(want), err)
			}
		}
	}
}

// A pattern with catastrophic backtracking is an error after the time limit, whatever text
// surrounds it. It never gives different ids.
func TestCatastrophicBacktracking(t *testing.T) {
	if testing.Short() {
		t.Skip("every pattern runs into its time limit")
	}
	text := strings.Repeat("a", 40) + "!"
	for _, c := range []struct{ pattern, text string }{
		{`(a+)+$`, text},
		{`(a|ab?)*$`, text},
		{`(.*)*x`, text},
		{`(?:a|aa)+$`, strings.Repeat("a", 80) + "!"},
		{`^(([a-z])+.)+[A-Z]([a-z])+$`, strings.Repeat("a", 60)},
		{`\s+\s+\s+\s+\s+\s+x`, strings.Repeat(" ", 2000)},
		{`(?=(?:.*a)*x).`, text},
	} {
		t.Run(c.pattern, func(t *testing.T) {
			t.Parallel()
			file := fmt.Sprintf(`{"model": {"type": "BPE", "vocab": {"a": 0, "!": 1, "Ġ": 2, "x": 3}, "merges": []}, "decoder": {"type": "ByteLevel"},
				"pre_tokenizer": {"type": "Sequence", "pretokenizers": [{"type": "Split", "pattern": {"Regex": %s}, "behavior": "Isolated"}, {"type": "ByteLevel", "add_prefix_space": false, "use_regex": false}]}}`, quoted(c.pattern))
			tok, err := Parse([]byte(file))
			if err != nil {
				t.Fatal(err)
			}
			ids, err := tok.EncodePlain(c.text)
			var pattern *PatternError
			if !errors.As(err, &pattern) || ids != nil || strings.Contains(err.Error(), "aaaaaaaaaa") {
				t.Errorf("%d ids, %v, want a PatternError", len(ids), err)
			}
			if ids, err := tok.EncodePlain("a"); err != nil || len(ids) != 1 {
				t.Errorf("a short text: %v, %v", ids, err)
			}
		})
	}
}

// Patterns that are expensive to compile, or have another meaning in regexp2, are an error.
func TestUnsupportedPatterns(t *testing.T) {
	nest := func(n int) string { return strings.Repeat("(", n) + "a" + strings.Repeat(")", n) }
	for _, c := range []struct {
		name, pattern      string
		unsupportedPattern bool
	}{
		{"long", strings.Repeat("a|", maxPatternBytes/2) + "b", true},
		{"nested", nest(10_000), true},
		{"nested a little", nest(50), false},
		{"repeated", `a{2147483647}`, true},
		{"repeated twice", `(a{1000}){1001}`, true},
		{"repeated beyond integers", `a{99999999999999999999}`, true},
		{"repeated from and to", `a{0,1000000}`, true},
		{"at the beginning", `{100000}`, true},
		{"a character's number", `\x{10000}`, false},
		{"repeated a little", `\p{N}{1,3}`, false},
		{"no pattern", `(`, true},
		{"intersected", `[\p{L}&&[^\p{Han}]]+`, true},
		{"brackets in text", `\(\(\[` + strings.Repeat(`\(`, 200), false},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := patternStage(c.pattern)
			var unsupported *UnsupportedError
			if errors.As(err, &unsupported) != c.unsupportedPattern || err != nil && len(err.Error()) > 500 {
				t.Errorf("%.300v", err)
			}
		})
	}
}

// Deeply nested sequences are an error before they take time.
func TestNestedPipelines(t *testing.T) {
	for _, part := range []string{"pre_tokenizer", "normalizer", "post_processor"} {
		list := map[string]string{"pre_tokenizer": "pretokenizers", "normalizer": "normalizers", "post_processor": "processors"}[part]
		file := map[string]json.RawMessage{
			"model": json.RawMessage(`{"type": "BPE", "vocab": {"a": 0}, "merges": []}`), "decoder": json.RawMessage(`{"type": "ByteLevel"}`),
			"pre_tokenizer": json.RawMessage(`{"type": "ByteLevel"}`),
		}
		open := `{"type": "Sequence", "` + list + `": [`
		file[part] = json.RawMessage(strings.Repeat(open, 4000) + strings.Repeat("]}", 4000))
		text, err := json.Marshal(file)
		if err != nil {
			t.Fatal(err)
		}
		var unsupported *UnsupportedError
		if _, err := Parse(text); !errors.As(err, &unsupported) || !strings.Contains(err.Error(), "nested") {
			t.Errorf("%s: %.200v", part, err)
		}
	}
	stage := `{"type": "Digits"},`
	if _, _, err := parseStages(json.RawMessage(`{"type": "Sequence", "pretokenizers": [`+strings.Repeat(stage, 1000)+`{"type": "ByteLevel"}]}`), 0); err == nil {
		t.Error("no error for a thousand stages")
	}
}
