package loader

import (
	"fmt"
	"math"
	"slices"

	"patchwork/vlm/chat"
	"patchwork/vlm/data"
	"patchwork/vlm/packing"
)

// LengthError reports that --seq-len is too short for the data.
type LengthError struct {
	SeqLen      int // tokens of a row
	Shortest    int // tokens of the shortest question with its answer, images and sound
	RowsChecked int // rows of the data that were checked, evenly spaced
}

func (e *LengthError) Error() string {
	return fmt.Sprintf("--seq-len %d is too short: no question in %d checked rows fits with its answer and images; the shortest takes %d", e.SeqLen, e.RowsChecked, e.Shortest)
}

// CheckSeqLen returns a *LengthError if none of the checked rows fits into --seq-len. It stops at
// the first row that fits, most often the first one. Damaged and rejected rows are ignored.
func (l *Loader) CheckSeqLen() error {
	e := &LengthError{SeqLen: l.SeqLen, Shortest: math.MaxInt}
	for _, n := range EvenlySpaced(slices.Collect(l.rows.All()), probeRows) {
		row, err := l.dataset.Row(n)
		if _, damaged := data.Damaged(err); damaged {
			continue
		}
		if err != nil {
			return err
		}
		tokens, err := l.minTokens(row)
		if err != nil || tokens == math.MaxInt {
			continue
		}
		if tokens <= e.SeqLen {
			return nil
		}
		e.RowsChecked, e.Shortest = e.RowsChecked+1, min(e.Shortest, tokens)
	}
	if e.RowsChecked == 0 {
		return nil
	}
	return e
}

// minTokens returns the row length needed by the first turn of a row, or with shared-prefix turns
// by the shortest one; math.MaxInt if no turn has an answer.
func (l *Loader) minTokens(row data.Row) (int, error) {
	s := l.sampler
	s.RowLen = math.MaxInt
	c, v := Conversation(row, l.Vision, l.Audio)
	if v.Status == data.Skip {
		return math.MaxInt, nil
	}
	if s.Turns == packing.InConversation {
		c.Turns = c.Turns[:min(1, len(c.Turns))]
	}
	least := math.MaxInt
	for _, turn := range c.Turns {
		one := c
		one.Turns = []chat.Turn{turn}
		samples, _, err := s.Samples(row.Index, one)
		if err != nil {
			return 0, err
		}
		for _, sample := range samples {
			least = min(least, sample.Len())
		}
	}
	return least, nil
}

// EvenlySpaced returns n of the rows, evenly spaced; all of them if n is 0 or there are not more.
func EvenlySpaced(rows []int, n int) []int {
	if n <= 0 || len(rows) <= n {
		return rows
	}
	var out []int
	for i := range n {
		out = append(out, rows[i*len(rows)/n])
	}
	return out
}
