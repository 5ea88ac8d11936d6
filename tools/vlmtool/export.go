package main

import (
	"context"
	"errors"
	"fmt"

	"patchwork/vlm/pretrained"
)

// exportResult is export's line of JSON.
type exportResult struct {
	Out        string `json:"out"`
	DType      string `json:"dtype"`
	Parameters int64  `json:"parameters"`
}

var exportCommand = command{
	name: "export", usage: "--model DIR|FILE.gguf --out DIR [flags]", about: "write a model in other floats, or its decoder for transformers",
	text: "Writes a model anew: in floats of another size, or its decoder alone, which transformers opens. A GGUF file becomes a Hugging Face folder.",
	examples: []example{
		{"vlmtool export --model demo/model --dtype bf16 --out model-bf16", "half the size"},
		{"vlmtool export --model demo/model --decoder-only --out decoder", "for transformers"},
	},
	declare: declareExport,
}

func declareExport(a *app) action {
	o := &pretrained.ExportOptions{}
	a.flags.StringVar(&o.Model, "model", "", "PATH: model's folder, or a decoder: a Hugging Face folder or a GGUF file")
	a.flags.StringVar(&o.Out, "out", "", "DIR: folder that is written, not there yet or empty")
	a.flags.BoolVar(&o.DecoderOnly, "decoder-only", false, "write the model's decoder alone, as transformers reads it; a bare decoder is always written so")
	a.choice(&o.DType, "dtype", "f32", "TYPE: floats of the files", dtypes...)
	return func(ctx context.Context) error { return export(ctx, a, *o) }
}

func export(ctx context.Context, a *app, o pretrained.ExportOptions) error {
	switch {
	case o.Model == "":
		return usagef("--model is missing: a model's folder, a Hugging Face folder or a GGUF file")
	case o.Out == "":
		return usagef("--out is missing: the folder that is written")
	}
	if err := pretrained.CheckOut(o.Out); err != nil {
		if errors.Is(err, pretrained.ErrNotEmpty) {
			return usagef("--out %s is not empty; name a new folder", o.Out)
		}
		return fmt.Errorf("--out: %w", err)
	}
	d, err := pretrained.Export(ctx, o)
	if err != nil {
		return err
	}
	if a.json {
		return a.result(exportResult{o.Out, o.DType, d.Parameters})
	}
	if !a.quiet {
		fmt.Fprintf(a.stderr, "%s parameters in %s are in %s\n", thousands(d.Parameters), o.DType, o.Out)
	}
	return nil
}
