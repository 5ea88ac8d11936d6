package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"patchwork/engine"
	"patchwork/internal/smallfile"
	"patchwork/tools/vlmtool/internal/cli"
	"patchwork/tools/vlmtool/internal/dataset"
	"patchwork/tools/vlmtool/internal/device"
	"patchwork/vlm"
	"patchwork/vlm/data"
	"patchwork/vlm/eval"
	"patchwork/vlm/importer"
	"patchwork/vlm/pretrained"
)

// exportCheck measures what an export costs: the scores of the model and of what was written.
type exportCheck struct {
	path  string // parquet files, or a text
	limit int    // samples; 0 = all
	files []data.File
	text  string
}

// scores are those of one model.
type scores struct {
	ExactMatch  *float64 `json:"exact_match,omitempty"` // of data
	NLLPerToken float64  `json:"nll_per_token"`         // in nats
}

// comparison are the scores before and after an export.
type comparison struct {
	Before scores `json:"before"`
	After  scores `json:"after"`
}

// maxCheckText is the largest text that is scored, in bytes.
const maxCheckText = 16 << 20

// open reads the text or opens the data, before the export.
func (c *exportCheck) open(ctx context.Context) error {
	if c.path == "" {
		return nil
	}
	if strings.HasSuffix(c.path, ".txt") || strings.HasSuffix(c.path, ".md") {
		raw, err := smallfile.Read(c.path, maxCheckText)
		if err == nil {
			c.text, err = importer.DecodeText(raw)
		}
		if err != nil {
			return fmt.Errorf("--check: %w", err)
		}
		return nil
	}
	source := (&dataset.Flags{}).Open(nil)
	defer source.Close()
	var err error
	if c.files, err = source.Files(ctx, []string{c.path}); err != nil {
		return fmt.Errorf("--check: %w", err)
	}
	return nil
}

// run scores the model, with its adapter, and what was written.
func (c *exportCheck) run(ctx context.Context, a *cli.App, o pretrained.ExportOptions) (*comparison, error) {
	if c.path == "" {
		return nil, nil
	}
	dev, err := device.Open(a)
	if err != nil {
		return nil, err
	}
	defer dev.Close()
	before, err := c.score(ctx, dev, o.Model, pretrained.LoadOptions{Weights: pretrained.WeightsAuto, Adapter: o.Adapter, MMProj: o.MMProj})
	if err != nil {
		return nil, err
	}
	after, err := c.score(ctx, dev, o.Out, pretrained.LoadOptions{Weights: pretrained.WeightsAuto})
	return &comparison{before, after}, err
}

func (c *exportCheck) score(ctx context.Context, dev engine.Device, path string, o pretrained.LoadOptions) (scores, error) {
	model, err := pretrained.LoadWith(path, dev, o)
	if err != nil {
		return scores{}, err
	}
	defer model.Close()
	if c.files == nil {
		r, err := eval.RunText(ctx, model, c.text, vlm.BOSAuto)
		return scores{NLLPerToken: float64(r.NLLPerToken)}, err
	}
	if model.Config.TextOnly() {
		return scores{}, errors.New("--check: a decoder alone is scored on a text: name a .txt file")
	}
	r, err := eval.Run(ctx, model, eval.Options{Data: c.files, Limit: c.limit, Control: eval.ControlNone, MaxNewTokens: 1})
	exact := r.ExactMatch
	return scores{&exact, float64(r.NLLPerToken)}, err
}

// print prints the scores side by side.
func (c *comparison) print(a *cli.App) {
	fmt.Fprintf(a.Stderr, "%-20s  %10s  %10s\n", "", "before", "after")
	if c.Before.ExactMatch != nil {
		fmt.Fprintf(a.Stderr, "%-20s  %9.2f%%  %9.2f%%\n", "exact match", 100**c.Before.ExactMatch, 100**c.After.ExactMatch)
	}
	fmt.Fprintf(a.Stderr, "%-20s  %10.4f  %10.4f\n", "NLL, nats per token", c.Before.NLLPerToken, c.After.NLLPerToken)
}
