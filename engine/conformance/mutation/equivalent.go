package mutation

import (
	_ "embed"
	"fmt"
	"slices"
	"strings"
)

//go:embed equivalent.txt
var equivalentText string

// keysOf names a file's mutants by the text of their lines, so that the names do not
// depend on other lines: "softmax.wgsl :: let end = start + p.cols; :: + → -". A change
// that occurs several times in lines of this text is numbered.
func keysOf(text string, mutants []Mutant) []string {
	namer := Namer{Lines: strings.Split(text, "\n")}
	keys := make([]string, len(mutants))
	for i, m := range mutants {
		namer.File = m.File
		keys[i] = namer.Key(m.Line, m.Before, m.After)
	}
	return keys
}

// Namer makes the keys of a file's mutants, in their order.
type Namer struct {
	File  string
	Lines []string
	times map[string]int
}

// Key names the next mutant.
func (n *Namer) Key(line int, before, after string) string {
	after = oneLine(after)
	if after == "" {
		after = "nothing"
	}
	key := n.File + " :: " + strings.TrimSpace(n.Lines[line-1]) + " :: " + oneLine(before) + " → " + after
	if n.times == nil {
		n.times = map[string]int{}
	}
	if n.times[key]++; n.times[key] > 1 {
		key += fmt.Sprintf(" #%d", n.times[key])
	}
	return key
}

// equivalents are the mutants that no case can distinguish from the kernel, by their
// keys, each with the reason.
var equivalents = must(ParseEquivalents(equivalentText))

func must(reasons map[string]string, err error) map[string]string {
	if err != nil {
		panic(err) // the text is embedded
	}
	return reasons
}

// ParseEquivalents reads the declarations of equivalent.txt: reasons, by the keys of
// mutants.
func ParseEquivalents(text string) (map[string]string, error) {
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

// Stale returns the keys of declared equivalents that no longer exist.
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
