package mutation

import (
	_ "embed"
	"fmt"
	"slices"
	"strings"
)

//go:embed equivalent.txt
var equivalentText string

// keysOf names a file's mutants by the text of their lines, so that they stay the same
// when other lines change: "softmax.wgsl :: let end = start + p.cols; :: + → -".
// A change that is there several times in lines of this text has its number behind it.
func keysOf(text string, mutants []Mutant) []string {
	lines := strings.Split(text, "\n")
	keys, times := make([]string, len(mutants)), map[string]int{}
	for i, m := range mutants {
		after := oneLine(m.After)
		if after == "" {
			after = "nothing"
		}
		key := m.File + " :: " + strings.TrimSpace(lines[m.Line-1]) + " :: " + oneLine(m.Before) + " → " + after
		if times[key]++; times[key] > 1 {
			key += fmt.Sprintf(" #%d", times[key])
		}
		keys[i] = key
	}
	return keys
}

// equivalents are the mutants that no case can tell from the kernel, by their keys,
// each with the reason.
var equivalents = must(parseEquivalents(equivalentText))

func must(reasons map[string]string, err error) map[string]string {
	if err != nil {
		panic(err) // the text is embedded
	}
	return reasons
}

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
func Stale(keys []string) []string {
	var stale []string
	for key := range equivalents {
		if !slices.Contains(keys, key) {
			stale = append(stale, key)
		}
	}
	slices.Sort(stale)
	return stale
}
