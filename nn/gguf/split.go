package gguf

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
)

// maxParts is the largest number of parts that names of five digits number.
const maxParts = 99999

// partName is the end of a part's name, by llama-gguf-split: parts count from 1.
func partName(part, parts int) string { return fmt.Sprintf("-%05d-of-%05d.gguf", part, parts) }

// openParts opens the other parts of a model in several files, of which g is the first: its tensors
// become those of all parts.
func (g *File) openParts() error {
	parts, ok := g.Metadata.Int("split.count")
	if !ok || parts <= 1 {
		return nil
	}
	if parts > maxParts {
		return &FormatError{g.name, fmt.Sprintf("split.count is %d, want at most %d", parts, maxParts)}
	}
	if part, _ := g.Metadata.Int("split.no"); part != 0 {
		return fmt.Errorf("%s is part %d of %d of a model; give the first part, which ends in %s", g.name, part+1, parts, partName(1, parts))
	}
	stem, ok := strings.CutSuffix(g.name, partName(1, parts))
	if !ok {
		return fmt.Errorf("%s is the first of %d parts of a model, but its name does not end in %s, from which the others' names follow; rename it", g.name, parts, partName(1, parts))
	}
	for part := 2; part <= parts; part++ {
		if err := g.openPart(stem+partName(part, parts), part, parts); err != nil {
			return err
		}
	}
	if want, ok := g.Metadata.Int("split.tensors.count"); ok && want != len(g.Tensors) {
		return &FormatError{g.name, fmt.Sprintf("the %d parts have %d tensors, want %d by split.tensors.count", parts, len(g.Tensors), want)}
	}
	return nil
}

func (g *File) openPart(path string, part, parts int) error {
	p, err := open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s is missing: part %d of %d of %s", path, part, parts, g.name)
	}
	if err != nil {
		return err
	}
	g.parts = append(g.parts, p)
	if no, _ := p.Metadata.Int("split.no"); no != part-1 {
		return &FormatError{path, fmt.Sprintf("split.no is %d, want %d by its name", no, part-1)}
	}
	for _, t := range p.Tensors {
		if _, twice := g.byName[t.Name]; twice {
			return &FormatError{path, fmt.Sprintf("tensor %q is in another part too", t.Name)}
		}
		g.byName[t.Name] = len(g.Tensors)
		g.Tensors = append(g.Tensors, t)
	}
	return nil
}
