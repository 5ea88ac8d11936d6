package tokenizer

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/dlclark/regexp2"
)

// PatternError reports a text that a tokenizer's regular expression cannot split in
// reasonable time. Splitting it differently would give different tokens.
type PatternError struct {
	Pattern string
	Bytes   int // of the text
	Limit   time.Duration
}

func (e *PatternError) Error() string {
	return fmt.Sprintf("tokenizer.json: /%.60s/ takes more than %v to split a text of %d bytes because of backtracking; use a tokenizer with another pattern", e.Pattern, e.Limit, e.Bytes)
}

// Limits on patterns. The longest of a published tokenizer has some 2,000 characters, seven
// levels of brackets and repetitions of up to three.
const (
	maxPatternBytes   = 16 << 10 // bytes
	maxPatternNesting = 64       // levels of brackets
	maxRepeat         = 1000
	patternMinimum    = 2 * time.Second
	patternMaximum    = 5 * time.Minute
	bytesAtMinimum    = 64 << 10
)

// patternLimit returns the time limit for a text of n bytes: the time at 32 KB/s, rounded up
// to a power of two times 2 s, and at most 5 minutes. The slowest published pattern was
// measured at more than thirty times that speed on one core.
func patternLimit(n int) time.Duration {
	limit := patternMinimum
	for size := bytesAtMinimum; size < n && limit < patternMaximum; size *= 2 {
		limit *= 2
	}
	return min(limit, patternMaximum)
}

// checkPattern rejects patterns that are expensive to compile or have another meaning in
// regexp2.
func checkPattern(pattern string) error {
	if len(pattern) > maxPatternBytes {
		return &UnsupportedError{fmt.Sprintf("a Split pattern of more than %d bytes", maxPatternBytes)}
	}
	if strings.Contains(pattern, "&&") { // class intersection in Hugging Face's engine, literal text in regexp2
		return &UnsupportedError{"a Split pattern with &&"}
	}
	depth := 0
	for i := 0; i < len(pattern); i++ {
		switch pattern[i] {
		case '\\':
			i++
		case '(', '[':
			depth++
		case ')', ']':
			depth--
		}
		if depth > maxPatternNesting {
			return &UnsupportedError{fmt.Sprintf("a Split pattern with more than %d levels of brackets", maxPatternNesting)}
		}
	}
	for _, m := range repeats.FindAllStringSubmatch(pattern, -1) {
		for _, n := range m[1:] {
			if times, err := strconv.Atoi(n); n != "" && (err != nil || times > maxRepeat) {
				return &UnsupportedError{fmt.Sprintf("a Split pattern with a repetition of more than %d", maxRepeat)}
			}
		}
	}
	return nil
}

// repeats matches a{2} and a{2,3}, but not \x{12}.
var repeats = regexp.MustCompile(`(?:^|[^xu])\{([0-9]+)(?:,([0-9]*))?\}`)

// splitter splits by a pattern that has no hand-written scanner. Its time is limited;
// since regexp2 stores the limit in the compiled pattern, there is one for each limit.
type splitter struct {
	pattern  string
	mu       sync.Mutex
	compiled map[time.Duration]*regexp2.Regexp
}

func (s *splitter) compile(limit time.Duration) (*regexp2.Regexp, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if re := s.compiled[limit]; re != nil {
		return re, nil
	}
	re, err := regexp2.Compile(s.pattern, regexp2.None)
	if err != nil {
		return nil, &UnsupportedError{fmt.Sprintf("Split by /%.60s/ (%.200s)", s.pattern, err)}
	}
	re.MatchTimeout = limit
	s.compiled[limit] = re
	return re, nil
}

// patternStage returns a stage that isolates every match of a pattern. It is slow.
func patternStage(pattern string) (stage, error) {
	if err := checkPattern(pattern); err != nil {
		return nil, err
	}
	s := &splitter{pattern: pattern, compiled: map[time.Duration]*regexp2.Regexp{}}
	if _, err := s.compile(patternMinimum); err != nil {
		return nil, err
	}
	return s.split, nil
}

func (s *splitter) split(text string, yield func(lo, hi int) error) error {
	limit := patternLimit(len(text))
	re, err := s.compile(limit)
	if err != nil {
		return err
	}
	spans, ok := find(re, text, limit)
	if !ok { // try again: the process may have been suspended
		if spans, ok = find(re, text, limit); !ok {
			return &PatternError{s.pattern, len(text), limit}
		}
	}
	done := 0
	for _, at := range spans {
		if done < at.lo {
			if err := yield(done, at.lo); err != nil {
				return err
			}
		}
		if at.lo < at.hi {
			if err := yield(at.lo, at.hi); err != nil {
				return err
			}
		}
		done = at.hi
	}
	if done < len(text) {
		return yield(done, len(text))
	}
	return nil
}

// find returns the byte spans of all matches; ok is false if they take longer than limit.
func find(re *regexp2.Regexp, text string, limit time.Duration) (spans []span, ok bool) {
	start := time.Now()
	runes, bytes := 0, 0 // regexp2 counts in runes
	offset := func(rune int) int {
		for ; runes < rune; runes++ {
			_, size := utf8.DecodeRuneInString(text[bytes:])
			bytes += size
		}
		return bytes
	}
	m, err := re.FindStringMatch(text)
	for m != nil && err == nil {
		lo := offset(m.Index)
		spans = append(spans, span{lo, offset(m.Index + m.Length)})
		if time.Since(start) > limit {
			return nil, false
		}
		m, err = re.FindNextMatch(m)
	}
	return spans, err == nil
}
