package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"patchwork/engine"
	"patchwork/nn/safetensors"
	"patchwork/vlm/checkpoint"
	"patchwork/vlm/data"
)

var inspectCommand = command{
	name: "inspect", usage: "PATH [--rows [--preset NAME]] [--render FILE] [--figures DIR [--image FILE]] [--json]", about: "say what a data set, model, checkpoint or GGUF file holds",
	text: "Says what a parquet file, a folder of them, a model, a checkpoint, a safetensors or a GGUF file, or a picture holds, whatever the file is called. With --rows it judges every row of a data set as training would, and says why one cannot be used.",
	examples: []example{
		{"vlmtool inspect demo/model", ""},
		{"vlmtool inspect 'demo/data/train-*.parquet' --rows --json", "which rows can be used, a line of JSON each"},
		{"vlmtool inspect 'demo/data/train-*.parquet' --rows --preset shapes", "which of them fit a row of training, too"},
		{"vlmtool inspect demo/model --render messages.json", "a conversation's prompt and ids, and which of them are answers"},
	},
	args:    positional{metavar: "PATH", most: 1},
	declare: declareInspect,
}

func declareInspect(a *app) action {
	rows := a.flags.Bool("rows", false, "judge every row of a data set")
	render := a.flags.String("render", "", "FILE: conversation in JSON, OpenAI's messages, LLaVA's conversations or FineVision's texts, to print as the model reads it; - is standard input")
	folder := a.flags.String("figures", "", "DIR: folder to draw a model's position embeddings and first filters into")
	picture := a.flags.String("image", "", "FILE: with --figures, draw too how this picture is cut into patches")
	fit := &rowFlags{}
	fit.declare(a)
	return func(ctx context.Context) error {
		if *render != "" {
			return a.render(*rows || *folder != "", *render)
		}
		return a.inspect(ctx, *rows, *folder, *picture, fit)
	}
}

func (a *app) render(other bool, file string) error {
	switch {
	case a.flags.NArg() == 0:
		return usagef("PATH is missing: a model's or a decoder's folder, or a GGUF file")
	case other:
		return usagef("--render is given beside --rows or --figures; one at a time")
	}
	return a.inspectRender(a.flags.Arg(0), file)
}

func (a *app) inspect(ctx context.Context, rows bool, folder, picture string, fit *rowFlags) error {
	if a.flags.NArg() == 0 {
		return usagef("PATH is missing: a data set, a model's or a decoder's folder, a checkpoint or a GGUF file")
	}
	switch {
	case folder != "" && rows:
		return usagef("--figures and --rows are both given: a model has figures, a data set has rows")
	case picture != "" && folder == "":
		return usagef("--image is for --figures DIR, which is missing")
	case fit.given() && !rows:
		return usagef("--preset, --model, --seq-len and --turns are for --rows, which is missing")
	}
	path := a.flags.Arg(0)
	if folder != "" {
		return a.drawModel(path, folder, picture)
	}
	if _, err := os.Stat(filepath.Join(path, "config.json")); err == nil && !rows {
		return a.inspectModel(ctx, path)
	}
	switch content, err := contentOf(path); {
	case err != nil:
		return err
	case content == holdsGGUF:
		return a.inspectGGUF(path)
	case content == holdsTensors:
		return a.inspectTensors(path)
	case content == holdsPicture:
		return a.inspectPicture(path)
	}
	files, err := data.Resolve([]string{path})
	if err != nil {
		return usageError{err}
	}
	if !rows {
		return a.inspectData(files)
	}
	check, err := fit.fit()
	if err != nil {
		return err
	}
	if check == nil {
		return a.inspectRows(ctx, files, data.Check)
	}
	return a.inspectRows(ctx, files, check.Check)
}

// inspectData describes each file; one that is bad does not hide the others.
func (a *app) inspectData(files []string) error {
	var failed error
	for _, f := range files {
		set, err := data.Open([]string{f})
		if err != nil {
			failed = errors.Join(failed, err)
			continue
		}
		if a.json {
			if err := a.result(map[string]any{"file": f, "rows": set.Len(), "fingerprint": set.Fingerprint()}); err != nil {
				return err
			}
			continue
		}
		fmt.Fprintf(a.stdout, "%s: %d rows, fingerprint %.12s\n", printable(f), set.Len(), set.Fingerprint())
	}
	return failed
}

func (a *app) inspectModel(ctx context.Context, dir string) error {
	m, err := checkpoint.Describe(dir)
	if err != nil {
		return err
	}
	if m.Step > 0 {
		if m.Summed, err = checkpoint.CheckSums(ctx, dir); errors.Is(err, os.ErrNotExist) {
			err = nil
		}
		if err != nil {
			return err
		}
	}
	if a.json {
		return a.result(m)
	}
	v, t := m.Config.Vision, m.Config.Text
	what := "encoder-free vision-language model"
	if v.None() {
		what = "decoder without pictures"
	}
	fmt.Fprintf(a.stdout, "%s, %s parameters (%s in float32)\n", what, thousands(m.Parameters), engine.Bytes(4*m.Parameters))
	if !v.None() {
		fmt.Fprintf(a.stdout, "  pictures  %d×%d pixels in %d patches of %d×%d\n", v.ImageSize, v.ImageSize, v.Patches(), v.PatchSize, v.PatchSize)
	}
	fmt.Fprintf(a.stdout, "  decoder   %s, %d layers, hidden %d, FFN %d, %d heads of %d (%d key/value), vocabulary %d, context %d\n",
		printable(t.ModelType), t.NumHiddenLayers, t.HiddenSize, t.IntermediateSize, t.NumAttentionHeads, t.HeadDim, t.NumKeyValueHeads, t.VocabSize, t.MaxPositionEmbeddings)
	if !v.None() {
		fmt.Fprintf(a.stdout, "  attention %s\n", m.Config.Attention)
	}
	if m.Step > 0 {
		what := "without SHA256SUMS: its files cannot be checked"
		if m.Summed > 0 {
			what = fmt.Sprintf("its %d files are as SHA256SUMS lists them", m.Summed)
		}
		fmt.Fprintf(a.stdout, "  checkpoint of step %d, %s\n", m.Step, what)
	}
	return nil
}

func (a *app) inspectTensors(path string) error {
	f, err := safetensors.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	for _, name := range f.Names() {
		t, _ := f.Tensor(name)
		if a.json {
			if err := a.result(map[string]any{"name": name, "dtype": t.DType, "shape": t.Shape}); err != nil {
				return err
			}
			continue
		}
		fmt.Fprintf(a.stdout, "%-60s %-5s %v\n", printable(name), t.DType, t.Shape)
	}
	return nil
}
