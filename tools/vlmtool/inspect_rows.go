package main

import (
	"cmp"
	"context"
	"fmt"

	"patchwork/vlm/data"
	"patchwork/vlm/packing"
	"patchwork/vlm/train"
)

// rowFlags say how long a row of training is that data must fit.
type rowFlags struct {
	preset, model, turns string
	seqLen               int
}

func (f *rowFlags) declare(a *app) {
	a.group("With --rows: do they fit a row of training?")
	a.choice(&f.preset, "preset", "", "NAME: recipe of the training", train.PresetNames...)
	a.flags.StringVar(&f.model, "model", "", "PATH: model's folder or a pretrained decoder, whose tokenizer counts")
	a.flags.IntVar(&f.seqLen, "seq-len", 0, "tokens of a row; 0 = the recipe's")
	a.choice(&f.turns, "turns", "", "MODE: a picture's turns one after another, or each alone behind it", string(packing.InConversation), string(packing.InBranches))
}

func (f *rowFlags) given() bool { return *f != rowFlags{} }

// fit is what judges rows; nil where no length was asked for.
func (f *rowFlags) fit() (*train.RowFit, error) {
	switch {
	case !f.given():
		return nil, nil
	case f.preset == "" && f.model == "":
		return nil, usagef("--seq-len and --turns need a tokenizer: add --preset NAME or --model PATH")
	case f.seqLen < 0:
		return nil, usagef("--seq-len cannot be %d", f.seqLen)
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
		return nil, usagef("--model %s tells of no training: add --preset NAME or --seq-len T", f.model)
	}
	if recipe.Decoder != "" && f.model == "" {
		return nil, usagef("preset %s takes the tokenizer of a pretrained decoder: bring it by vlmtool fetch %s --out DECODER, and add --model DECODER", f.preset, recipe.Decoder)
	}
	recipe.SeqLen = cmp.Or(f.seqLen, recipe.SeqLen)
	recipe.Turns = cmp.Or(packing.Turns(f.turns), recipe.Turns, packing.InConversation)
	return train.NewRowFit(recipe, f.model)
}

func (a *app) inspectRows(ctx context.Context, files []string, check func(data.Row) data.Verdict) error {
	set, err := data.Open(files)
	if err != nil {
		return err
	}
	used := 0
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
			used++
		}
		if a.json {
			if err := a.result(v); err != nil {
				return err
			}
			continue
		}
		what := fmt.Sprintf("%d pictures, %d turns", len(v.Images), v.Turns)
		if v.Status == data.Skip {
			what = v.Reason
		}
		fmt.Fprintf(a.stdout, "%s:%d %s: %s\n", printable(v.File), v.Row, v.Status, printable(what))
	}
	if !a.json {
		fmt.Fprintf(a.stdout, "%d of %d rows can be used\n", used, set.Len())
	}
	return damaged
}
