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

// PatternError is a text that a tokenizer's regular expression cannot cut in any
// reasonable time. It has no ids: pieces of another size would be other tokens.
type PatternError struct {
	Pattern string
	Bytes   int // of the text
	Limit   time.Duration
}

func (e *PatternError) Error() string {
	return fmt.Sprintf("tokenizer.json: /%.60s/ takes more than %v to split a text of %d bytes, since it tries it in too many ways; use a tokenizer with another pattern", e.Pattern, e.Limit, e.Bytes)
}

// What a pattern may be. The longest of a published tokenizer has some 2,000 characters,
// seven levels of brackets and repeats nothing more than three times.
const (
	maxPatternBytes   = 16 << 10 // bytes
	maxPatternNesting = 64       // brackets in brackets
	maxRepeat         = 1000
	patternMinimum    = 2 * time.Second
	patternMaximum    = 5 * time.Minute
	bytesAtMinimum    = 64 << 10
)

// patternLimit is how long a text of n bytes may take: 2 s to begin with, and as long as
// 32 KB/s would take, up to a limit. The slowest published pattern was measured at more
// than thirty times that speed on one core.
func patternLimit(n int) time.Duration {
	limit := patternMinimum
	for size := bytesAtMinimum; size < n && limit < patternMaximum; size *= 2 {
		limit *= 2
	}
	return min(limit, patternMaximum)
}

// checkPattern refuses patterns that are costly to compile.
func checkPattern(pattern string) error {
	if len(pattern) > maxPatternBytes {
		return &UnsupportedError{fmt.Sprintf("a Split pattern of more than %d bytes", maxPatternBytes)}
	}
	if strings.Contains(pattern, "&&") { // Hugging Face's engine intersects classes by it, regexp2 takes it for text
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
			return &UnsupportedError{fmt.Sprintf("a Split pattern with more than %d brackets in each other", maxPatternNesting)}
		}
	}
	for _, m := range repeats.FindAllStringSubmatch(pattern, -1) {
		for _, n := range m[1:] {
			if times, err := strconv.Atoi(n); n != "" && (err != nil || times > maxRepeat) {
				return &UnsupportedError{fmt.Sprintf("a Split pattern that repeats something more than %d times", maxRepeat)}
			}
		}
	}
	return nil
}

// repeats are a{2} and a{2,3}, and not \x{12}.
var repeats = regexp.MustCompile(`(?:^|[^xu])\{([0-9]+)(?:,([0-9]*))?\}`)

// splitter is any pattern that has no scanner by hand. Its matching is bounded in time,
// which regexp2 keeps with the compiled pattern: one for each limit in use.
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

// matches is a stage that cuts out every match of a pattern; it is slow.
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
	if !ok { // once more: the process may have been stopped and continued
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

// find returns all matches in bytes; ok is false where they take longer than limit.
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
