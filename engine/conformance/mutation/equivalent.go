package mutation

import (
	_ "embed"
	"fmt"
	"slices"
	"strings"
)

//go:embed equivalent.txt
var equivalentText string

// Key names a mutant by the text of its line, so that it stays the same when
// other lines change: "softmax.wgsl :: let end = start + p.cols; :: + → -".
// A change that is there several times in a line has its number behind it.
func Key(text string, all []Mutant, i int) string {
	m := all[i]
	change := oneLine(m.Before) + " → " + oneLine(m.After)
	nth := 1
	for _, o := range all[:i] {
		if o.Line == m.Line && o.Before == m.Before && o.After == m.After {
			nth++
		}
	}
	if nth > 1 {
		change += fmt.Sprintf(" #%d", nth)
	}
	line, _, _ := strings.Cut(strings.Join(strings.Split(text, "\n")[m.Line-1:], "\n"), "\n")
	return m.File + " :: " + strings.TrimSpace(line) + " :: " + change
}

// Equivalents are the mutants that no case can tell from the kernel, by Key, each
// with the reason.
func Equivalents() (map[string]string, error) { return parseEquivalents(equivalentText) }

func parseEquivalents(text string) (map[string]string, error) {
	reasons := map[string]string{}
	reason := ""
	for i, line := range strings.Split(text, "\n") {
		trimmed := strings.TrimSpace(line)
		switch indented := strings.HasPrefix(line, "  "); {
		case trimmed == "" || strings.HasPrefix(line, "#"):
		case !indented:
			reason = trimmed
		case reason == "" || len(strings.Split(trimmed, " :: ")) != 3:
			return nil, fmt.Errorf("equivalent.txt:%d: want a reason, then indented lines of \"file :: line :: change\"", i+1)
		default:
			reasons[trimmed] = reason
		}
	}
	return reasons, nil
}

// Stale returns the keys of declared equivalents that no mutant has any more.
func Stale(equivalents map[string]string, keys []string) []string {
	var stale []string
	for key := range equivalents {
		if !slices.Contains(keys, key) {
			stale = append(stale, key)
		}
	}
	slices.Sort(stale)
	return stale
}
