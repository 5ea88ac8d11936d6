package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"patchwork/tools/vlmtool/internal/cli"
	"patchwork/tools/vlmtool/internal/device"
	"patchwork/tools/vlmtool/internal/terminal"
	"patchwork/tools/vlmtool/internal/usage"
	"patchwork/vlm/pretrained"
)

// exportResult is export's line of JSON.
type exportResult struct {
	Out        string                        `json:"out"`
	DType      string                        `json:"dtype"` // of a GGUF file: the value of --quantize
	Parameters int64                         `json:"parameters"`
	Bytes      int64                         `json:"bytes,omitempty"` // of a GGUF file
	Types      map[string]pretrained.TypeUse `json:"types,omitempty"` // of its tensors
	Check      *comparison                   `json:"check,omitempty"`
}

// The values of --format.
const (
	formatFolder = "folder"
	formatGGUF   = "gguf"
)

func exportCommand(a *cli.App) *cobra.Command {
	o := &pretrained.ExportOptions{}
	var format string
	var merge bool
	site := &webExport{}
	check := &exportCheck{}
	c := &cobra.Command{
		Use:   "export --model DIR|FILE.gguf --out DIR|FILE.gguf",
		Short: "Write a model as one file or in another type, or its decoder for other programs",
		Long: `Writes a model as one GGUF file with everything in it, quantised with --quantize, or as a
folder in another type. With --decoder-only the file opens in llama.cpp, the folder in
transformers.

Of a quantised file, the types of 4 and 5 bits keep the embedding and the head at 6 bits
(q6_k), and q4_k_m and q5_k_m also half of the value and down projections; the image
embedder and the connector stay at f16. Rows that are no multiple of 256 get q5_0, q5_1 and
q8_0 for q4_k, q5_k and q6_k.`,
		Example: `  # one file of a quarter of the size
  vlmtool export --model demo/model --quantize q8_0 --out shapes.gguf
  # a model with the adapter of a run in its matrices
  vlmtool export --merge --model smollm2 --adapter run/adapter --out merged
  # the decoder for transformers, and for llama.cpp
  vlmtool export --model demo/model --decoder-only --out decoder
  vlmtool export --model demo/model --decoder-only --quantize f16 --out decoder.gguf
  # a web page that answers, for any server of static files
  vlmtool export --web --model demo/model --out site`,
		RunE: func(c *cobra.Command, _ []string) error {
			if merge != (o.Adapter != "") {
				return usage.Errorf("--merge and --adapter belong together: export writes whole models; infer and eval take --adapter as it is")
			}
			if site.on {
				return site.run(c.Context(), a, *o, format, check)
			}
			if a.Changed("context") || a.Changed("example") || a.Changed("training-page") {
				return usage.Errorf("--context, --example and --training-page are for --web")
			}
			if err := checkFormat(a, o, format); err != nil {
				return err
			}
			return export(c.Context(), a, *o, check)
		},
	}
	s := c.Flags()
	s.StringVar(&o.Model, "model", "", "load the model at `PATH`: a model's folder or GGUF file, or a text-only decoder as a Hugging Face folder or GGUF file")
	s.StringVar(&o.Out, "out", "", "write to `PATH`: a folder, new or empty, or a new file that ends in .gguf")
	s.BoolVar(&merge, "merge", false, "merge the --adapter into the model's matrices, decoded where they are quantised")
	s.StringVar(&o.Adapter, "adapter", "", "merge the LoRA adapter in `DIR`: the folder adapter of a run with --lora-rank")
	cli.MMProjFlag(s, &o.MMProj)
	s.BoolVar(&o.DecoderOnly, "decoder-only", false, "write only the model's decoder, for transformers or llama.cpp")
	cli.Choice(s, &format, "format", "", "write a `FORMAT` (default: by the other flags)", formatFolder, formatGGUF)
	cli.Choice(s, &o.DType, "dtype", "f32", "store a folder's weights as `TYPE`", cli.DTypes...)
	cli.Choice(s, &o.Quantize, "quantize", "", "store a GGUF file's matrices as `TYPE` (default f16)", pretrained.Quantizations()...)
	cli.Group(c, "A web page", func(s *pflag.FlagSet) {
		s.BoolVar(&site.on, "web", false, "write a folder of static files in which the model runs in the visitor's browser; --quantize is q8_0 by default, and that of a GGUF file")
		s.StringArrayVar(&site.examples, "example", nil, "with --web: offer the visitor the image in `FILE`, to begin with; may be repeated")
		s.BoolVar(&site.training, "training-page", false, "with --web: add a page on which the visitor's browser trains the demo's model from random numbers")
		s.IntVar(&site.context, "context", 2048, "with --web: give a prompt and its answer at most `N` tokens together")
	})
	cli.Group(c, "What it costs", func(s *pflag.FlagSet) {
		s.StringVar(&check.path, "check", "", "score the model and what was written on `PATH`: parquet files, a glob or a folder, or a text (.txt, .md)")
		s.IntVar(&check.limit, "limit", 0, "with --check: use only the first `N` samples; 0 = all")
		device.Flag(a, s)
	})
	return c
}

// checkFormat decides between a folder and a file.
func checkFormat(a *cli.App, o *pretrained.ExportOptions, format string) error {
	named := strings.HasSuffix(o.Out, ".gguf")
	file := format == formatGGUF || format == "" && (named || o.Quantize != "")
	switch {
	case file && o.Out != "" && !named:
		return usage.Errorf("--out %s: a GGUF file's name must end in .gguf", o.Out)
	case !file && o.Quantize != "":
		return usage.Errorf("--quantize is for --format gguf")
	case file && o.Quantize != "" && a.Changed("dtype"):
		return usage.Errorf("--dtype and --quantize are both given; --quantize is enough")
	case file && o.Quantize == "" && a.Changed("dtype"):
		o.Quantize = o.DType
	case file:
		o.Quantize = cmp.Or(o.Quantize, "f16")
	}
	return nil
}

func export(ctx context.Context, a *cli.App, o pretrained.ExportOptions, check *exportCheck) error {
	switch {
	case o.Model == "":
		return usage.Errorf("--model is missing: a model's folder, a Hugging Face folder or a GGUF file")
	case o.Out == "":
		return usage.Errorf("--out is missing: the folder or the .gguf file to write")
	}
	if err := checkOut(o); err != nil {
		return err
	}
	if err := check.open(ctx); err != nil {
		return err
	}
	d, err := pretrained.Export(ctx, o)
	if err != nil {
		return err
	}
	out := exportResult{Out: o.Out, DType: cmp.Or(o.Quantize, o.DType), Parameters: d.Parameters, Types: d.Types}
	for _, t := range d.Types {
		out.Bytes += t.Bytes
	}
	if out.Check, err = check.run(ctx, a, o); err != nil {
		return err
	}
	if a.JSON {
		return a.Result(out)
	}
	if !a.Quiet {
		fmt.Fprintf(a.Stderr, "%s parameters in %s are in %s\n", terminal.Thousands(d.Parameters), out.DType, o.Out)
		for _, name := range slices.Sorted(maps.Keys(d.Types)) {
			fmt.Fprintf(a.Stderr, "  %-5s %4d tensors, %.1f MB\n", name, d.Types[name].Tensors, float64(d.Types[name].Bytes)/1e6)
		}
	}
	if out.Check != nil {
		out.Check.print(a)
	}
	return nil
}

// checkOut returns an error if the folder to write is not empty, or the file exists.
func checkOut(o pretrained.ExportOptions) error {
	if o.Quantize != "" {
		if _, err := os.Lstat(o.Out); !errors.Is(err, fs.ErrNotExist) {
			return usage.Errorf("--out %s exists; name a new file", o.Out)
		}
		return nil
	}
	err := pretrained.CheckOut(o.Out)
	if errors.Is(err, pretrained.ErrNotEmpty) {
		return usage.Errorf("--out %s is not empty; name a new folder", o.Out)
	} else if err != nil {
		return fmt.Errorf("--out: %w", err)
	}
	return nil
}
