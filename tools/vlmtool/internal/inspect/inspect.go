// Package inspect prints what a data set, model, checkpoint or file contains.
package inspect

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"patchwork/engine"
	"patchwork/nn/safetensors"
	"patchwork/tools/vlmtool/internal/cli"
	"patchwork/tools/vlmtool/internal/dataset"
	"patchwork/tools/vlmtool/internal/terminal"
	"patchwork/tools/vlmtool/internal/usage"
	"patchwork/vlm/checkpoint"
	"patchwork/vlm/data"
)

type options struct {
	rows                   bool
	render, figures, image string
	fit                    rowFit
	remote                 dataset.Flags
}

// Command is vlmtool inspect.
func Command(a *cli.App) *cobra.Command {
	o := &options{}
	c := &cobra.Command{
		Use:   "inspect PATH",
		Short: "Describe a data set, model, checkpoint or GGUF file",
		Long: `Describes a parquet file or a folder of them, a model, a checkpoint, a safetensors or GGUF
file, or an image. The type is found by content, not by the file's name. --rows checks
every row of a data set as training does, and gives the reason why a row is skipped.`,
		Example: `  vlmtool inspect demo/model
  # which rows can be used, one line of JSON each
  vlmtool inspect 'demo/data/train-*.parquet' --rows --json
  # and whether they fit a row of training
  vlmtool inspect 'demo/data/train-*.parquet' --rows --preset shapes
  # prompt and token ids of a conversation
  vlmtool inspect demo/model --render messages.json`,
		Args: cli.MaxArgs(1),
		RunE: func(c *cobra.Command, args []string) error { return o.run(c.Context(), a, args) },
	}
	s := c.Flags()
	s.BoolVar(&o.rows, "rows", false, "check every row of a data set")
	s.StringVar(&o.render, "render", "", "print the conversation in `FILE` as the model reads it; JSON with OpenAI's messages, LLaVA's conversations or FineVision's texts; - = standard input")
	s.StringVar(&o.figures, "figures", "", "draw a model's position embeddings and patch filters into `DIR`")
	s.StringVar(&o.image, "image", "", "with --figures: draw the patches of the image in `FILE` too")
	cli.Group(c, "Row length, with --rows", o.fit.declare)
	cli.Group(c, "Data of the hub", o.remote.Declare)
	return c
}

func (o *options) run(ctx context.Context, a *cli.App, args []string) error {
	if err := o.check(args); err != nil {
		return err
	}
	path := args[0]
	switch {
	case o.render != "":
		return render(a, path, o.render)
	case o.figures != "":
		return drawModel(a, path, o.figures, o.image)
	case o.rows:
		return o.inspectRows(ctx, a, path)
	case dataset.IsRemote(path):
		return o.inspectFiles(ctx, a, path)
	}
	if _, err := os.Stat(filepath.Join(path, "config.json")); err == nil {
		return inspectModel(ctx, a, path)
	}
	switch content, err := contentOf(path); {
	case err != nil:
		return err
	case content == contentGGUF:
		return inspectGGUF(a, path)
	case content == contentSafetensors:
		return inspectTensors(a, path)
	case content == contentImage:
		return inspectImage(a, path)
	}
	return o.inspectFiles(ctx, a, path)
}

func (o *options) check(args []string) error {
	switch {
	case len(args) == 0 && o.render != "":
		return usage.Errorf("PATH is missing: a model's or a decoder's folder, or a GGUF file")
	case len(args) == 0:
		return usage.Errorf("PATH is missing: a data set, a model's or a decoder's folder, a checkpoint or a GGUF file")
	case o.render != "" && (o.rows || o.figures != ""):
		return usage.Errorf("--render is given with --rows or --figures; use one at a time")
	case o.figures != "" && o.rows:
		return usage.Errorf("--figures and --rows are both given; --figures is for models, --rows for data sets")
	case o.image != "" && o.figures == "":
		return usage.Errorf("--image needs --figures DIR")
	case o.fit.given() && !o.rows:
		return usage.Errorf("--preset, --model, --seq-len and --turns need --rows")
	}
	return nil
}

// inspectFiles describes each file of a data set, also after one that cannot be read.
func (o *options) inspectFiles(ctx context.Context, a *cli.App, path string) error {
	source := o.remote.Open(nil)
	defer source.Close()
	files, err := source.Files(ctx, []string{path})
	if err != nil {
		return err
	}
	var failed error
	for _, f := range files {
		set, err := data.Open(ctx, []data.File{f})
		if err != nil {
			failed = errors.Join(failed, err)
			continue
		}
		set.Close()
		if a.JSON {
			if err := a.Result(map[string]any{"file": f.Name(), "rows": set.Len(), "fingerprint": set.Fingerprint()}); err != nil {
				return err
			}
			continue
		}
		fmt.Fprintf(a.Stdout, "%s: %d rows, fingerprint %.12s\n", terminal.Printable(f.Name()), set.Len(), set.Fingerprint())
	}
	return failed
}

func inspectModel(ctx context.Context, a *cli.App, dir string) error {
	m, err := checkpoint.Describe(dir)
	if err != nil {
		return err
	}
	if m.Step > 0 {
		if m.FilesChecked, err = checkpoint.CheckSums(ctx, dir); errors.Is(err, os.ErrNotExist) {
			err = nil
		}
		if err != nil {
			return err
		}
	}
	if a.JSON {
		return a.Result(m)
	}
	v, hear, t := m.Config.Vision, m.Config.Audio, m.Config.Text
	kind := "encoder-free vision-language model"
	switch {
	case m.Config.TextOnly():
		kind = "text-only decoder"
	case v.None():
		kind = "encoder-free audio-language model"
	}
	fmt.Fprintf(a.Stdout, "%s, %s parameters (%s in float32)\n", kind, terminal.Thousands(m.Parameters), engine.Bytes(4*m.Parameters))
	if !v.None() {
		notes := ""
		if v.MeanColors {
			notes = ", with their mean colors"
		}
		if v.Embedder != "" {
			notes = ", " + v.Embedder + " embedder"
		}
		if m.Config.ImageExperts {
			notes += ", image experts"
		}
		if v.KeepsAspect() {
			fmt.Fprintf(a.Stdout, "  images    in their aspect ratio, in up to %d patches of %d×%d%s\n", v.MaxPatches, v.PatchSize, v.PatchSize, notes)
		} else {
			fmt.Fprintf(a.Stdout, "  images    %d×%d pixels in %d patches of %d×%d%s\n", v.ImageSize, v.ImageSize, v.Patches(), v.PatchSize, v.PatchSize, notes)
		}
	}
	if !hear.None() {
		fmt.Fprintf(a.Stdout, "  sound     %d Hz in frames of %d samples, one every %d\n", hear.SampleRate, hear.FrameSize, hear.Hop())
	}
	fmt.Fprintf(a.Stdout, "  decoder   %s, %d layers, hidden %d, FFN %d, %d heads of %d (%d key/value), vocabulary %d, context %d\n",
		terminal.Printable(t.ModelType), t.NumHiddenLayers, t.HiddenSize, t.IntermediateSize, t.NumAttentionHeads, t.HeadDim, t.NumKeyValueHeads, t.VocabSize, t.MaxPositionEmbeddings)
	if !m.Config.TextOnly() {
		fmt.Fprintf(a.Stdout, "  attention %s\n", m.Config.Attention)
	}
	if m.Step > 0 {
		sums := "no SHA256SUMS to check its files against"
		if m.FilesChecked > 0 {
			sums = fmt.Sprintf("%d files match SHA256SUMS", m.FilesChecked)
		}
		fmt.Fprintf(a.Stdout, "  checkpoint of step %d, %s\n", m.Step, sums)
	}
	return nil
}

func inspectTensors(a *cli.App, path string) error {
	f, err := safetensors.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	for _, name := range f.Names() {
		t, _ := f.Tensor(name)
		if a.JSON {
			if err := a.Result(map[string]any{"name": name, "dtype": t.DType, "shape": t.Shape}); err != nil {
				return err
			}
			continue
		}
		fmt.Fprintf(a.Stdout, "%-60s %-5s %v\n", terminal.Printable(name), t.DType, t.Shape)
	}
	return nil
}
