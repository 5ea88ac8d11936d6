package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"

	"patchwork/engine"
	"patchwork/vlm/importer"
)

var dataCommand = command{
	name: "data", usage: "import FOLDER|FILE… --out DIR [flags]", about: "make a data set of your own pictures and captions",
	text:     "Makes data sets that train and eval read.",
	examples: importCommand.examples[:1],
	subs:     []command{importCommand},
}

var importCommand = command{
	name: "data import", usage: "FOLDER|FILE… --out DIR [flags]", about: "make parquet files of pictures and captions",
	text: "Makes parquet files in FineVision's schema of pictures with captions in .txt files beside them, or of a list (.jsonl, .json, .csv, .tsv) that names pictures with captions or with questions and answers. Folders or lists that are called train, validation and test become these. Links are followed inside of PATH. What cannot be used is passed over, named and counted.",
	examples: []example{
		{"vlmtool data import docs --out data --prompt 'What is this?'", "a folder: cat.jpg beside cat.txt"},
		{"vlmtool data import pictures.jsonl --out data --test-fraction 0.1", "a list, a tenth of its rows to test on"},
	},
	args:    positional{metavar: "PATH", most: many},
	declare: declareImport,
}

func declareImport(a *app) action {
	o := &importer.Options{}
	a.flags.StringVar(&o.Out, "out", "", "DIR: folder for the parquet files, not there yet or empty")
	a.flags.StringArrayVar(&o.Prompts, "prompt", []string{importer.DefaultPrompt}, "TEXT: question that a caption answers; of several, one is picked for each picture")
	a.flags.Uint64Var(&o.Seed, "seed", 0, "seed of the picking")
	a.flags.Float64Var(&o.TestFraction, "test-fraction", 0, "share of the rows for test-*.parquet")
	a.flags.IntVar(&o.ShardRows, "shard-rows", 10_000, "rows of a parquet file")
	a.flags.IntVar(&o.CaptionLines, "caption-lines", 0, "only so many lines of a caption's file, the first ones; 0 = all")
	a.flags.BoolVar(&o.FollowLinks, "follow-links", false, "read pictures, captions and folders too to which links and paths lead out of PATH")
	return func(ctx context.Context) error { return importData(ctx, a, *o) }
}

func importData(ctx context.Context, a *app, o importer.Options) error {
	switch {
	case a.flags.NArg() == 0:
		return usagef("FOLDER or FILE is missing: pictures with captions beside them, or a list (.jsonl, .json, .csv, .tsv)")
	case o.Out == "":
		return usagef("--out is missing: the folder that receives the parquet files")
	case slices.ContainsFunc(o.Prompts, func(p string) bool { return strings.TrimSpace(p) == "" }):
		return usagef("--prompt is empty; want the question that a caption answers, or leave it out for %q", importer.DefaultPrompt)
	case !(o.TestFraction >= 0 && o.TestFraction < 1):
		return usagef("--test-fraction %g must be at least 0 and below 1", o.TestFraction)
	case o.ShardRows < 1:
		return usagef("--shard-rows cannot be %d, want 1 or more", o.ShardRows)
	case o.CaptionLines < 0:
		return usagef("--caption-lines cannot be %d; 0 takes all lines", o.CaptionLines)
	}
	o.Paths, o.Skipped, o.Note = a.flags.Args(), warnSkipped(), func(s string) { slog.Warn(s) }
	r, err := importer.Import(ctx, o)
	var source *importer.SourceError
	if errors.Is(err, importer.ErrNotEmpty) || errors.As(err, &source) && r.Reasons == nil {
		return usageError{err}
	}
	if err != nil {
		return err
	}
	if a.json {
		return a.result(r)
	}
	if !a.quiet {
		printImport(a, r)
	}
	return nil
}

// maxWarnings is how many entries that cannot be used are named.
const maxWarnings = 50

func warnSkipped() func(importer.Skipped) {
	n := 0
	return func(s importer.Skipped) {
		switch n++; {
		case n > maxWarnings+1:
		case n > maxWarnings:
			slog.Warn("more entries are passed over; the summary counts them")
		case s.Line > 0:
			slog.Warn(fmt.Sprintf("%s: entry at line %d is passed over: %s", s.File, s.Line, s.Reason))
		default:
			slog.Warn(fmt.Sprintf("%s is passed over: %s", s.File, s.Reason))
		}
	}
}

func printImport(a *app, r importer.Result) {
	validate := ""
	if r.ValRows > 0 {
		validate = fmt.Sprintf(", %d to validate", r.ValRows)
	}
	fmt.Fprintf(a.stdout, "%d rows to train on%s, %d to test: %d pictures (%s), %d turns\n",
		r.Rows, validate, r.TestRows, r.Pictures, engine.Bytes(r.Bytes), r.Turns)
	if r.Skipped > 0 {
		fmt.Fprintf(a.stdout, "%d entries passed over\n", r.Skipped)
		for _, reason := range slices.Sorted(maps.Keys(r.Reasons)) {
			fmt.Fprintf(a.stdout, "  %d: %s\n", r.Reasons[reason], printable(reason))
		}
	}
	for _, f := range r.Files {
		fmt.Fprintln(a.stdout, printable(f))
	}
}
