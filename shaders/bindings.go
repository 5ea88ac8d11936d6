package shaders

import (
	"cmp"
	"maps"
	"slices"
	"strings"
)

// BindingsFile holds the functions that load from and store to bindings, in Parts.
const BindingsFile = "bindings.wgsl"

// Part is a template in BindingsFile for bindings of one type.
type Part struct {
	Name       string // "load half pair"
	Start, End int    // bytes of the file
	Text       string
}

var parts = parseParts(must(SourceFile(BindingsFile)))

func must(text string, err error) string {
	if err != nil {
		panic(err) // it is embedded
	}
	return text
}

// parseParts splits a text at its lines "//: name". Text before the first is ignored.
func parseParts(text string) map[string]Part {
	const mark = "//: "
	parts := map[string]Part{}
	var last Part
	at := 0
	for line := range strings.Lines(text) {
		if name, ok := strings.CutPrefix(line, mark); ok {
			last = Part{Name: strings.TrimSpace(name), Start: at + len(line)}
		}
		at += len(line)
		if last.Name != "" {
			last.End = at
			last.Text = text[last.Start:last.End]
			parts[last.Name] = last
		}
	}
	return parts
}

// Parts are those of BindingsFile, in its order.
func Parts() []Part {
	return slices.SortedFunc(maps.Values(parts), func(a, b Part) int { return cmp.Compare(a.Start, b.Start) })
}

// For is the part's text for a binding.
func (p Part) For(b Binding) string {
	return strings.NewReplacer("NAME", b.Name, "TYPE", b.Type.String()).Replace(p.Text)
}
