package main

import (
	"context"
	"fmt"

	"patchwork/engine"
	"patchwork/tools/vlmtool/internal/cli"
	"patchwork/tools/vlmtool/internal/terminal"
	"patchwork/tools/vlmtool/internal/usage"
	"patchwork/tools/vlmtool/internal/web"
	"patchwork/vlm/pretrained"
)

// webExport are the flags of export --web.
type webExport struct {
	on       bool
	context  int // tokens
	examples []string
	training bool
}

// webResult is its line of JSON.
type webResult struct {
	Out         string `json:"out"`
	DType       string `json:"dtype"`
	Parameters  int64  `json:"parameters"`
	Bytes       int64  `json:"bytes"`        // of the weights, to download
	MemoryBytes int64  `json:"memory_bytes"` // of weights, cache and activations
	Context     int    `json:"context"`
}

func (f *webExport) run(ctx context.Context, a *cli.App, o pretrained.ExportOptions, format string, check *exportCheck) error {
	switch {
	case o.Model == "":
		return usage.Errorf("--model is missing: a model's folder, a Hugging Face folder or a GGUF file")
	case o.Out == "":
		return usage.Errorf("--out is missing: the folder of the site to write")
	case format != "" || a.Changed("dtype") || o.DecoderOnly || check.path != "":
		return usage.Errorf("--web goes with neither --format, --dtype, --decoder-only nor --check; --quantize says how the weights are stored")
	case f.context < 2:
		return usage.Errorf("--context cannot be %d, want 2 or more", f.context)
	}
	site, err := web.Export(ctx, web.Options{ExportOptions: o, Context: f.context, Examples: f.examples, Training: f.training})
	if err != nil {
		return err
	}
	if a.JSON {
		return a.Result(webResult{o.Out, site.Weights, site.Parameters, site.WeightBytes, site.MemoryBytes, site.Context})
	}
	if !a.Quiet {
		fmt.Fprintf(a.Stderr, "%s parameters in %s are in %s: %s to download, %s of memory; vlmtool web %s opens it\n", terminal.Thousands(site.Parameters), site.Weights, o.Out,
			engine.Bytes(site.WeightBytes), engine.Bytes(site.MemoryBytes), o.Out)
	}
	return nil
}
