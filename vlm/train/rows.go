package train

import (
	"fmt"
	"math"

	"patchwork/vlm"
	"patchwork/vlm/chat"
	"patchwork/vlm/data"
	"patchwork/vlm/packing"
	"patchwork/vlm/pretrained"
)

// LengthError says that rows of tokens are too short for the data.
type LengthError struct {
	SeqLen int // tokens of a row
	Least  int // tokens of the shortest question with its answer and pictures
	Looked int // rows of the data that were looked at, evenly spread
}

func (e *LengthError) Error() string {
	return fmt.Sprintf("--seq-len %d is too short: no question of the %d data rows looked at fits with its answer and pictures; the shortest takes %d", e.SeqLen, e.Looked, e.Least)
}

// lengthRows is how many rows are looked at before a length is called too short.
const lengthRows = 256

// checkLength finds out before a run whether any row of the data fits a row of
// tokens. Rows are looked at until one does, which most often is the first. The error
// is a *LengthError; rows that are damaged or refused say nothing.
func (f *Loader) checkLength() error {
	e := &LengthError{SeqLen: f.recipe.SeqLen, Least: math.MaxInt}
	for _, n := range thin(f.rows, lengthRows) {
		row, err := f.dataset.Row(n)
		if _, damaged := data.Damaged(err); damaged {
			continue
		}
		if err != nil {
			return err
		}
		least, err := f.leastTokens(row)
		if err != nil || least == math.MaxInt {
			continue
		}
		if least <= e.SeqLen {
			return nil
		}
		e.Looked, e.Least = e.Looked+1, min(e.Least, least)
	}
	if e.Looked == 0 {
		return nil
	}
	return e
}

// leastTokens is the length at which the first turn of a row fits, or, where turns
// are branches, the shortest; math.MaxInt where no turn has an answer.
func (f *Loader) leastTokens(row data.Row) (int, error) {
	s := f.sampler
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

// RowFit judges rows as training does: whether their texts and pictures can be used, and
// fit a row of tokens.
type RowFit struct{ sampler packing.Sampler }

// NewRowFit takes the tokenizer and the chat template of a model's folder or a pretrained
// decoder; "" stands for the preset's own. Pictures, turns and the length of a row are the
// recipe's.
func NewRowFit(r Recipe, model string) (*RowFit, error) {
	l, err := r.language(model)
	if err != nil {
		return nil, err
	}
	return &RowFit{packing.Sampler{Encoder: l.Encoder, RowLen: r.SeqLen, Turns: r.Turns}}, nil
}

func (r Recipe) language(model string) (*vlm.Processor, error) {
	if model == "" {
		return pretrained.PresetProcessor(r.Preset, r.Vision.Patches())
	}
	bare, err := pretrained.IsDecoder(model)
	if err != nil {
		return nil, err
	}
	if !bare {
		_, l, err := pretrained.OpenFolder(model)
		return l, err
	}
	p, err := pretrained.Open(model)
	if err != nil {
		return nil, err
	}
	defer p.Close()
	return p.Processor(r.Vision.Patches())
}

// Check is data.Check, and tells rows of which no turn fits.
func (f *RowFit) Check(row data.Row) data.Verdict {
	v := data.Check(row)
	if v.Status == data.Skip {
		return v
	}
	_, counts, err := f.sampler.Samples(row.Index, conversation(row))
	reason := ""
	switch {
	case err != nil:
		reason = err.Error()
	case counts.Skipped > 0:
		reason = data.TooLong(f.sampler.RowLen)
	default:
		return v
	}
	return data.Verdict{File: row.File, Row: row.Index, Status: data.Skip, Reason: reason, Images: []data.Size{}}
}
