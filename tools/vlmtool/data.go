package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"patchwork/engine"
	"patchwork/tools/vlmtool/internal/cli"
	"patchwork/tools/vlmtool/internal/terminal"
	"patchwork/tools/vlmtool/internal/usage"
	"patchwork/vlm/importer"
)

func dataCommand(a *cli.App) *cobra.Command {
	c := &cobra.Command{
		Use:     "data",
		Short:   "Make a data set from your own images and captions",
		Long:    "Makes data sets for train and eval.",
		Example: "  vlmtool data import docs --out data --prompt 'What is this?'",
	}
	c.AddCommand(importCommand(a))
	return c
}

func importCommand(a *cli.App) *cobra.Command {
	o := &importer.Options{}
	c := &cobra.Command{
		Use:   "import PATH… --out DIR",
		Short: "Make parquet files of images and captions",
		Long: `Makes parquet files in FineVision's schema. PATH is a folder of images with captions in .txt
files beside them, or a list (.jsonl, .json, .csv, .tsv) of images with captions or with
questions and answers. Folders or lists called train, validation and test become those
splits. Links are followed only inside PATH. Unusable entries are skipped, reported and
counted.`,
		Example: `  # a folder: cat.jpg beside cat.txt
  vlmtool data import docs --out data --prompt 'What is this?'
  # a list, with a tenth of its rows as the test split
  vlmtool data import pictures.jsonl --out data --test-fraction 0.1`,
		Args: cobra.ArbitraryArgs,
		RunE: func(c *cobra.Command, args []string) error {
			o.Paths = args
			return importData(c.Context(), a, *o)
		},
	}
	s := c.Flags()
	s.StringVar(&o.Out, "out", "", "write the parquet files to `DIR`, new or empty")
	s.StringArrayVar(&o.Prompts, "prompt", []string{importer.DefaultPrompt}, "use `TEXT` as the question that captions answer; can be repeated, each image gets one at random")
	s.Uint64Var(&o.Seed, "seed", 0, "random seed of the choice of questions")
	s.Float64Var(&o.TestFraction, "test-fraction", 0, "fraction of the rows for test-*.parquet")
	s.IntVar(&o.ShardRows, "shard-rows", 10_000, "rows per parquet file")
	s.IntVar(&o.CaptionLines, "caption-lines", 0, "use only the first `N` lines of a caption's file; 0 = all")
	s.BoolVar(&o.FollowLinks, "follow-links", false, "follow links and paths that lead out of PATH too")
	return c
}

func importData(ctx context.Context, a *cli.App, o importer.Options) error {
	switch {
	case len(o.Paths) == 0:
		return usage.Errorf("PATH is missing: a FOLDER of images with captions beside them, or a list (.jsonl, .json, .csv, .tsv)")
	case o.Out == "":
		return usage.Errorf("--out is missing: the folder for the parquet files")
	case slices.ContainsFunc(o.Prompts, func(p string) bool { return strings.TrimSpace(p) == "" }):
		return usage.Errorf("--prompt is empty; want the question that the captions answer, or omit it for %q", importer.DefaultPrompt)
	case !(o.TestFraction >= 0 && o.TestFraction < 1):
		return usage.Errorf("--test-fraction %g must be at least 0 and below 1", o.TestFraction)
	case o.ShardRows < 1:
		return usage.Errorf("--shard-rows cannot be %d, want 1 or more", o.ShardRows)
	case o.CaptionLines < 0:
		return usage.Errorf("--caption-lines cannot be %d; 0 = all lines", o.CaptionLines)
	}
	o.Skipped, o.Note = warnSkipped(), func(s string) { slog.Warn(s) }
	r, err := importer.Import(ctx, o)
	var source *importer.SourceError
	if errors.Is(err, importer.ErrNotEmpty) || errors.As(err, &source) && r.Reasons == nil {
		return usage.Error{Err: err}
	}
	if err != nil {
		return err
	}
	if a.JSON {
		return a.Result(r)
	}
	if !a.Quiet {
		printImport(a, r)
	}
	return nil
}

// maxWarnings is the number of skipped entries that are reported one by one.
const maxWarnings = 50

func warnSkipped() func(importer.Skipped) {
	n := 0
	return func(s importer.Skipped) {
		switch n++; {
		case n > maxWarnings+1:
		case n > maxWarnings:
			slog.Warn("more entries are skipped; the summary counts them")
		case s.Line > 0:
			slog.Warn(fmt.Sprintf("%s: the entry at line %d is skipped: %s", s.File, s.Line, s.Reason))
		default:
			slog.Warn(fmt.Sprintf("%s is skipped: %s", s.File, s.Reason))
		}
	}
}

func printImport(a *cli.App, r importer.Result) {
	validation := ""
	if r.ValRows > 0 {
		validation = fmt.Sprintf(", %d for validation", r.ValRows)
	}
	fmt.Fprintf(a.Stdout, "%d rows for training%s, %d for testing: %d images (%s), %d turns\n",
		r.Rows, validation, r.TestRows, r.Images, engine.Bytes(r.Bytes), r.Turns)
	if r.Skipped > 0 {
		fmt.Fprintf(a.Stdout, "%d entries skipped\n", r.Skipped)
		for _, reason := range slices.Sorted(maps.Keys(r.Reasons)) {
			fmt.Fprintf(a.Stdout, "  %d: %s\n", r.Reasons[reason], terminal.Printable(reason))
		}
	}
	for _, f := range r.Files {
		fmt.Fprintln(a.Stdout, terminal.Printable(f))
	}
}
