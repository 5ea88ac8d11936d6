package train

import (
	"context"
	"runtime"

	"patchwork/vlm"
	"patchwork/vlm/data"
	"patchwork/vlm/loader"
	"patchwork/vlm/packing"
	"patchwork/vlm/pretrained"
)

// RowChecker checks whether training can use a row: its text, its images, and whether it fits into
// --seq-len.
type RowChecker struct {
	sampler packing.Sampler
	vision  vlm.VisionConfig
	audio   vlm.AudioConfig
}

// NewRowChecker takes the tokenizer and chat template from a model folder or a pretrained decoder,
// or from the preset if model is "". Image size, turn mode and row length are the recipe's.
func NewRowChecker(r Recipe, model string) (*RowChecker, error) {
	p, err := r.processor(model)
	if err != nil {
		return nil, err
	}
	return newRowChecker(r, p), nil
}

func newRowChecker(r Recipe, p *vlm.Processor) *RowChecker {
	return &RowChecker{packing.Sampler{Encoder: p.Encoder, RowLen: r.SeqLen, Turns: r.Turns}, r.Vision, r.Audio}
}

// processor returns the processor of a model folder, a pretrained decoder, or, if model is "", the
// preset.
func (r Recipe) processor(model string) (*vlm.Processor, error) {
	if model == "" {
		return r.hear(pretrained.PresetProcessor(r.Preset, r.Vision.Patches()))
	}
	isDecoder, err := pretrained.IsDecoder(model)
	if err != nil {
		return nil, err
	}
	if !isDecoder {
		_, p, err := pretrained.OpenModel(model)
		return p, err
	}
	p, err := pretrained.Open(model)
	if err != nil {
		return nil, err
	}
	defer p.Close()
	return r.hear(p.Processor(r.Vision.Patches()))
}

// Check is data.Check; it also skips rows of which no turn fits.
func (c *RowChecker) Check(row data.Row) data.Verdict {
	v := data.Check(row)
	if v.Status == data.Skip {
		return v
	}
	conversation, refused := loader.Conversation(row, c.vision, c.audio)
	if refused.Status == data.Skip {
		return refused
	}
	_, counts, err := c.sampler.Samples(row.Index, conversation)
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

// OpenLoader opens all rows of a recipe's data without a model, to measure how fast it is loaded. It
// takes the tokenizer as NewRowChecker does. All cores decode images. The caller closes the dataset.
func OpenLoader(ctx context.Context, files []data.File, r Recipe, model string) (*loader.Loader, error) {
	p, err := r.processor(model)
	if err != nil {
		return nil, err
	}
	d, err := data.Open(ctx, files)
	if err != nil {
		return nil, err
	}
	var rows data.RowSet
	for i := range d.Len() {
		rows.Add(i)
	}
	c := r.loaderConfig(r.Vision, r.Audio)
	c.Workers = runtime.GOMAXPROCS(0)
	return loader.New(d, &rows, p, c, data.NewRowStats(nil)), nil
}
