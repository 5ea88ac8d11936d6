package train

import (
	"patchwork/vlm"
	"patchwork/vlm/data"
	"patchwork/vlm/packing"
	"patchwork/vlm/pretrained"
)

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
