package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"

	"patchwork/engine"
	"patchwork/vlm/importer"
)

func runData(ctx context.Context, a *app, args []string) error {
	o := importer.Options{}
	a.flags.StringVar(&o.Out, "out", "", "folder for the parquet files, not there yet or empty")
	a.flags.StringArrayVar(&o.Prompts, "prompt", []string{importer.DefaultPrompt}, "question that a caption answers; of several, one is picked for each picture")
	a.flags.Uint64Var(&o.Seed, "seed", 0, "seed of the picking")
	a.flags.Float64Var(&o.TestFraction, "test-fraction", 0, "share of the rows for test-*.parquet")
	a.flags.IntVar(&o.ShardRows, "shard-rows", 10_000, "rows of a parquet file")
	if err := a.parse(args, len(args)); err != nil {
		return err
	}
	paths := a.flags.Args()
	switch {
	case len(paths) == 0 || paths[0] != "import":
		return usagef("data what? import")
	case len(paths) == 1:
		return usagef("FOLDER or FILE is missing: pictures with captions beside them, or a list (.jsonl, .json, .csv, .tsv)")
	case o.Out == "":
		return usagef("--out is missing: the folder that receives the parquet files")
	case !(o.TestFraction >= 0 && o.TestFraction < 1):
		return usagef("--test-fraction %g must be at least 0 and below 1", o.TestFraction)
	case o.ShardRows < 1:
		return usagef("--shard-rows cannot be %d", o.ShardRows)
	}
	o.Paths, o.Skipped = paths[1:], warnSkipped()
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
	fmt.Fprintf(a.stdout, "%d rows to train on, %d to test: %d pictures (%s), %d turns\n",
		r.Rows, r.TestRows, r.Pictures, engine.Bytes(r.Bytes), r.Turns)
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
