package train

import (
	"fmt"
	"math"
	"slices"

	"patchwork/vlm"
	"patchwork/vlm/chat"
	"patchwork/vlm/data"
	"patchwork/vlm/packing"
	"patchwork/vlm/pretrained"
)

// LengthError reports that --seq-len is too short for the data.
type LengthError struct {
	SeqLen      int // tokens of a row
	Shortest    int // tokens of the shortest question with its answer and images
	RowsChecked int // rows of the data that were checked, evenly spaced
}

func (e *LengthError) Error() string {
	return fmt.Sprintf("--seq-len %d is too short: no question in %d checked rows fits with its answer and images; the shortest takes %d", e.SeqLen, e.RowsChecked, e.Shortest)
}

// seqLenProbeRows is the number of rows that checkSeqLen checks.
const seqLenProbeRows = 256

// checkSeqLen returns a *LengthError if none of the checked rows fits into --seq-len. It stops at
// the first row that fits, most often the first one. Damaged and rejected rows are ignored.
func (l *Loader) checkSeqLen() error {
	e := &LengthError{SeqLen: l.recipe.SeqLen, Shortest: math.MaxInt}
	for _, n := range evenlySpaced(slices.Collect(l.rows.All()), seqLenProbeRows) {
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
	c := conversation(row)
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

// RowChecker checks whether training can use a row: its text, its images, and whether it fits into
// --seq-len.
type RowChecker struct{ sampler packing.Sampler }

// NewRowChecker takes the tokenizer and chat template from a model folder or a pretrained decoder,
// or from the preset if model is "". Image size, turn mode and row length are the recipe's.
func NewRowChecker(r Recipe, model string) (*RowChecker, error) {
	p, err := r.processor(model)
	if err != nil {
		return nil, err
	}
	return &RowChecker{packing.Sampler{Encoder: p.Encoder, RowLen: r.SeqLen, Turns: r.Turns}}, nil
}

// processor returns the processor of a model folder, a pretrained decoder, or, if model is "", the
// preset.
func (r Recipe) processor(model string) (*vlm.Processor, error) {
	if model == "" {
		return pretrained.PresetProcessor(r.Preset, r.Vision.Patches())
	}
	isDecoder, err := pretrained.IsDecoder(model)
	if err != nil {
		return nil, err
	}
	if !isDecoder {
		_, p, err := pretrained.OpenFolder(model)
		return p, err
	}
	p, err := pretrained.Open(model)
	if err != nil {
		return nil, err
	}
	defer p.Close()
	return p.Processor(r.Vision.Patches())
}

// Check is data.Check; it also skips rows of which no turn fits.
func (c *RowChecker) Check(row data.Row) data.Verdict {
	v := data.Check(row)
	if v.Status == data.Skip {
		return v
	}
	_, counts, err := c.sampler.Samples(row.Index, conversation(row))
	reason := ""
	switch {
	case err != nil:
		reason = err.Error()
	case counts.Skipped > 0:
		reason = data.TooLong(c.sampler.RowLen)
	default:
		return v
	}
	return data.Verdict{File: row.File, Row: row.Index, Status: data.Skip, Reason: reason, Images: []data.Size{}}
}
