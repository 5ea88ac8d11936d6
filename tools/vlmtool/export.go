package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"patchwork/tools/vlmtool/internal/cli"
	"patchwork/tools/vlmtool/internal/terminal"
	"patchwork/tools/vlmtool/internal/usage"
	"patchwork/vlm/pretrained"
)

// exportResult is export's line of JSON.
type exportResult struct {
	Out        string `json:"out"`
	DType      string `json:"dtype"`
	Parameters int64  `json:"parameters"`
}

func exportCommand(a *cli.App) *cobra.Command {
	o := &pretrained.ExportOptions{}
	c := &cobra.Command{
		Use:   "export --model DIR|FILE.gguf --out DIR",
		Short: "Write a model in another type, or its decoder for transformers",
		Long: `Writes a model in another type, or only its decoder, which transformers can load. A GGUF
file becomes a Hugging Face folder.`,
		Example: `  # half the size
  vlmtool export --model demo/model --dtype bf16 --out model-bf16
  # for transformers
  vlmtool export --model demo/model --decoder-only --out decoder`,
		RunE: func(c *cobra.Command, _ []string) error { return export(c.Context(), a, *o) },
	}
	s := c.Flags()
	s.StringVar(&o.Model, "model", "", "load the model at `PATH`: a model's folder, or a text-only decoder as a Hugging Face folder or GGUF file")
	s.StringVar(&o.Out, "out", "", "write to `DIR`, new or empty")
	s.BoolVar(&o.DecoderOnly, "decoder-only", false, "write only the model's decoder, in transformers' format")
	cli.Choice(s, &o.DType, "dtype", "f32", "store the weights as `TYPE`", cli.DTypes...)
	return c
}

func export(ctx context.Context, a *cli.App, o pretrained.ExportOptions) error {
	switch {
	case o.Model == "":
		return usage.Errorf("--model is missing: a model's folder, a Hugging Face folder or a GGUF file")
	case o.Out == "":
		return usage.Errorf("--out is missing: the folder to write")
	}
	if err := pretrained.CheckOut(o.Out); err != nil {
		if errors.Is(err, pretrained.ErrNotEmpty) {
			return usage.Errorf("--out %s is not empty; name a new folder", o.Out)
		}
		return fmt.Errorf("--out: %w", err)
	}
	d, err := pretrained.Export(ctx, o)
	if err != nil {
		return err
	}
	if a.JSON {
		return a.Result(exportResult{o.Out, o.DType, d.Parameters})
	}
	if !a.Quiet {
		fmt.Fprintf(a.Stderr, "%s parameters in %s are in %s\n", terminal.Thousands(d.Parameters), o.DType, o.Out)
	}
	return nil
}
