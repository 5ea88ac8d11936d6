package main

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"

	"patchwork/vlm/data"
)

// prior counts the training answers to each question. The most frequent one is the best
// answer without the image.
type prior struct {
	counts map[string]map[string]int // by question, then answer
	all    map[string]int
}

func readPrior(pattern string) (*prior, error) {
	files, err := data.Resolve([]string{pattern})
	if err != nil {
		return nil, err
	}
	set, err := data.Open(context.Background(), files)
	if err != nil {
		return nil, err
	}
	p := &prior{counts: map[string]map[string]int{}, all: map[string]int{}}
	for i := range set.Len() {
		row, err := set.Row(i)
		if err != nil {
			return nil, fmt.Errorf("row %d: %w", i, err)
		}
		for _, t := range row.Answered() {
			if p.counts[t.User] == nil {
				p.counts[t.User] = map[string]int{}
			}
			p.counts[t.User][t.Assistant]++
			p.all[t.Assistant]++
		}
	}
	return p, nil
}

// answer is the most frequent answer to a question; for a new question, the most
// frequent answer of all.
func (p *prior) answer(question string) string {
	counts := p.counts[question]
	if counts == nil {
		counts = p.all
	}
	best := ""
	for _, answer := range slices.Sorted(maps.Keys(counts)) {
		if best == "" || cmp.Less(counts[best], counts[answer]) {
			best = answer
		}
	}
	return best
}
