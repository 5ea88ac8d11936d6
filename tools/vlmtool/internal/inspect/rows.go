package inspect

import (
	"cmp"
	"context"
	"fmt"

	"github.com/spf13/pflag"

	"patchwork/tools/vlmtool/internal/cli"
	"patchwork/tools/vlmtool/internal/terminal"
	"patchwork/tools/vlmtool/internal/usage"
	"patchwork/vlm/data"
	"patchwork/vlm/packing"
	"patchwork/vlm/train"
)

// rowFit is the recipe whose row length the data must fit.
type rowFit struct {
	preset, model, turns string
	seqLen               int
}

func (f *rowFit) declare(s *pflag.FlagSet) {
	cli.Choice(s, &f.preset, "preset", "", "use the recipe `NAME`", train.PresetNames...)
	s.StringVar(&f.model, "model", "", "use the tokenizer of the model or pretrained decoder at `PATH`")
	s.IntVar(&f.seqLen, "seq-len", 0, "tokens per row; 0 = the recipe's")
	cli.Choice(s, &f.turns, "turns", "", "lay out the questions about an image by `MODE`", string(packing.InConversation), string(packing.SharedPrefix))
}

func (f *rowFit) given() bool { return *f != rowFit{} }

// checker checks rows against the recipe; nil where no flag asks for it.
func (f *rowFit) checker() (*train.RowChecker, error) {
	switch {
	case !f.given():
		return nil, nil
	case f.preset == "" && f.model == "":
		return nil, usage.Errorf("--seq-len and --turns need a tokenizer: add --preset NAME or --model PATH")
	case f.seqLen < 0:
		return nil, usage.Errorf("--seq-len cannot be %d", f.seqLen)
	}
	recipe, known, err := train.Recipe{}, false, error(nil)
	if f.preset != "" {
		recipe, err = train.Preset(f.preset)
		known = true
	} else {
		recipe, known, err = train.SavedRecipe(f.model)
	}
	if err != nil {
		return nil, err
	}
	if !known && f.seqLen == 0 {
		return nil, usage.Errorf("--model %s has no training recipe: add --preset NAME or --seq-len T", f.model)
	}
	if recipe.Decoder != "" && f.model == "" {
		return nil, usage.Errorf("preset %s uses the tokenizer of a pretrained decoder: run vlmtool fetch %s --out DECODER, then add --model DECODER", f.preset, recipe.Decoder)
	}
	recipe.SeqLen = cmp.Or(f.seqLen, recipe.SeqLen)
	recipe.Turns = cmp.Or(packing.Turns(f.turns), recipe.Turns, packing.InConversation)
	return train.NewRowChecker(recipe, f.model)
}

func (o *options) inspectRows(ctx context.Context, a *cli.App, path string) error {
	source := o.remote.Open(nil)
	defer source.Close()
	files, err := source.Files(ctx, []string{path})
	if err != nil {
		return err
	}
	fit, err := o.fit.checker()
	if err != nil {
		return err
	}
	check := data.Check
	if fit != nil {
		check = fit.Check
	}
	set, err := data.Open(ctx, files)
	if err != nil {
		return err
	}
	defer set.Close()
	usable := 0
	var damaged error // the first
	for i := range set.Len() {
		if err := ctx.Err(); err != nil {
			return err
		}
		row, err := set.Row(i)
		v, bad := data.Damaged(err)
		switch {
		case bad:
			damaged = cmp.Or(damaged, err)
		case err != nil:
			return err
		default:
			v = check(row)
		}
		if v.Status == data.Use {
			usable++
		}
		if a.JSON {
			if err := a.Result(v); err != nil {
				return err
			}
			continue
		}
		result := fmt.Sprintf("%d images, %d turns", len(v.Images), v.Turns)
		if len(v.Clips) > 0 {
			result = fmt.Sprintf("%d images, %d clips, %d turns", len(v.Images), len(v.Clips), v.Turns)
		}
		if v.Status == data.Skip {
			result = v.Reason
		}
		fmt.Fprintf(a.Stdout, "%s:%d %s: %s\n", terminal.Printable(v.File), v.Row, v.Status, terminal.Printable(result))
	}
	if !a.JSON {
		fmt.Fprintf(a.Stdout, "%d of %d rows can be used\n", usable, set.Len())
	}
	return damaged
}
