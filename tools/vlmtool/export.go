package main

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"patchwork/vlm"
)

// exportResult is export's line of JSON.
type exportResult struct {
	Out        string `json:"out"`
	DType      string `json:"dtype"`
	Parameters int64  `json:"parameters"`
}

func runExport(_ context.Context, a *app, args []string) error {
	var o vlm.ExportOptions
	a.flags.StringVar(&o.Model, "model", "", "model's folder, or a decoder: a Hugging Face folder or a GGUF file")
	a.flags.StringVar(&o.Out, "out", "", "folder that is written")
	a.flags.BoolVar(&o.DecoderOnly, "decoder-only", false, "write the model's decoder alone, as transformers reads it; a bare decoder is always written so")
	a.flags.StringVar(&o.DType, "dtype", "f32", "f32, f16 or bf16")
	if err := a.parse(args, 0); err != nil {
		return err
	}
	switch {
	case o.Model == "":
		return usagef("--model is missing: a model's folder, a Hugging Face folder or a GGUF file")
	case o.Out == "":
		return usagef("--out is missing: the folder that is written")
	case !slices.Contains([]string{"f32", "f16", "bf16"}, o.DType):
		return usagef("--dtype is %q, want f32, f16 or bf16", o.DType)
	}
	if err := vlm.CheckOut(o.Out, false); err != nil {
		if errors.Is(err, vlm.ErrNotEmpty) {
			return usagef("--out %s is not empty", o.Out)
		}
		return err
	}
	d, err := vlm.Export(o)
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
