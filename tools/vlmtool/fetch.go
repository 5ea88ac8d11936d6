package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"patchwork/engine"
	"patchwork/tools/vlmtool/internal/cli"
	"patchwork/tools/vlmtool/internal/terminal"
	"patchwork/tools/vlmtool/internal/usage"
	"patchwork/vlm/hub"
	"patchwork/vlm/train"
)

type fetchFlags struct {
	out, preset, kind string
	include, exclude  []string
	jobs              int
}

func fetchCommand(a *cli.App) *cobra.Command {
	f := &fetchFlags{}
	c := &cobra.Command{
		Use:   "fetch REPO[@REV] --out DIR",
		Short: "Download a model or data set from the Hugging Face hub",
		Long: `Downloads a repository of the Hugging Face hub, several files at a time. The same command
resumes an interrupted download, and every file's checksum is verified. HF_TOKEN and
HF_ENDPOINT are honoured.`,
		Example: `  # the decoder that a preset starts from
  vlmtool fetch --preset smollm2-135m --out smollm2
  # some files of a repository
  vlmtool fetch HuggingFaceTB/SmolLM2-135M-Instruct@main --include '*.json' --out smollm2
  # a folder of a data set
  vlmtool fetch datasets/HuggingFaceM4/FineVision --include 'CoSyn_400k_chart/*' --out data`,
		Args:              cli.MaxArgs(1),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE:              func(c *cobra.Command, args []string) error { return f.fetch(c.Context(), a, strings.Join(args, "")) },
	}
	s := c.Flags()
	s.StringVar(&f.out, "out", "", "write the files to `DIR`")
	cli.Choice(s, &f.preset, "preset", "", "fetch the decoder of the preset `NAME` instead of REPO", train.PresetNames...)
	cli.Choice(s, &f.kind, "type", "", "fetch REPO as a `TYPE`, if the hub has both with that name", string(hub.Model), string(hub.Dataset))
	s.StringArrayVar(&f.include, "include", nil, "fetch only files that match `PATTERN`, such as '*.gguf' or 'folder/*'; can be repeated")
	s.StringArrayVar(&f.exclude, "exclude", nil, "skip files that match `PATTERN`; can be repeated")
	s.IntVar(&f.jobs, "jobs", 4, "files at a time")
	return c
}

func (f *fetchFlags) fetch(ctx context.Context, a *cli.App, arg string) error {
	repo, err := f.repo(arg)
	if err != nil {
		return err
	}
	if f.jobs < 1 {
		return usage.Errorf("--jobs cannot be %d, want 1 or more", f.jobs)
	}
	client, err := hub.NewClient()
	if err != nil {
		return usage.Error{Err: err}
	}
	progress := newFetchProgress(a)
	client.Note = progress.note
	result, err := client.Fetch(ctx, repo, hub.Options{Out: f.out, Include: f.include, Exclude: f.exclude, Jobs: f.jobs, Observe: progress.observer()})
	progress.end()
	if ctx.Err() != nil {
		slog.Info("the partial download is kept; the same command resumes it")
		return ctx.Err()
	}
	var status *hub.StatusError
	if errors.As(err, &status) {
		return fmt.Errorf("%s: %w", repo, err)
	}
	if err != nil {
		return err
	}
	if a.JSON {
		return a.Result(result)
	}
	if !a.Quiet {
		fmt.Fprintf(a.Stderr, "%d files of %s at commit %.12s, %s, %s of it downloaded; they are in %s\n",
			result.Files, result.Repo, result.Commit, engine.Bytes(result.Bytes), engine.Bytes(result.Downloaded), result.Out)
	}
	return nil
}

// repo is the repository of the argument or the preset.
func (f *fetchFlags) repo(arg string) (hub.Repo, error) {
	switch {
	case arg == "" && f.preset == "":
		return hub.Repo{}, usage.Errorf("REPO is missing: OWNER/NAME, datasets/OWNER/NAME or --preset NAME")
	case arg != "" && f.preset != "":
		return hub.Repo{}, usage.Errorf("%s and --preset are both given; one is enough", arg)
	case f.out == "":
		return hub.Repo{}, usage.Errorf("--out is missing: the folder for the files")
	}
	if f.preset != "" {
		recipe, err := train.Preset(f.preset)
		if err != nil {
			return hub.Repo{}, usage.Error{Err: err}
		}
		if arg = recipe.Decoder; arg == "" {
			return hub.Repo{}, usage.Errorf("preset %s is trained from scratch: nothing to fetch", f.preset)
		}
	}
	repo, err := hub.ParseRepo(arg)
	if err != nil {
		return repo, usage.Error{Err: err}
	}
	switch kind := hub.Kind(f.kind); {
	case kind == hub.Any:
	case repo.Kind != hub.Any && repo.Kind != kind:
		return repo, usage.Errorf("--type %s does not fit %s", f.kind, arg)
	default:
		repo.Kind = kind
	}
	return repo, nil
}

// fetchProgress shows a download: one live line on a terminal, else a plain line every
// few seconds.
type fetchProgress struct {
	mu           sync.Mutex
	line         *terminal.Line
	files, done  int
	bytes, here  int64
	start, first int64 // nanoseconds and bytes when the first new byte came
}

func newFetchProgress(a *cli.App) *fetchProgress {
	return &fetchProgress{line: terminal.NewLine(a.Stderr, a.Quiet)}
}

func (p *fetchProgress) observer() hub.Observer {
	return hub.Observer{
		Start: func(r hub.Repo, files []hub.File, bytes int64) {
			p.files, p.bytes = len(files), bytes
			slog.Info(fmt.Sprintf("%s: %d files, %s", r, len(files), engine.Bytes(bytes)))
		},
		Bytes: func(here int64) { p.update(func() { p.here = max(p.here, here) }) },
		Done:  func(hub.File, int64) { p.update(func() { p.done++ }) },
	}
}

func (p *fetchProgress) note(s string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.line.Above(func() { slog.Warn(s) })
}

func (p *fetchProgress) update(change func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	change()
	now := time.Now().UnixNano()
	if p.start == 0 {
		p.start, p.first = now, p.here
	}
	if !p.line.Due(p.done == p.files) {
		return
	}
	rate, left := 0.0, "?"
	if s := float64(now-p.start) / 1e9; s > 0 && p.here > p.first {
		rate = float64(p.here-p.first) / s
		left = terminal.Seconds(float64(p.bytes-p.here) / rate)
	}
	share := 0.0
	if p.bytes > 0 {
		share = min(1, float64(p.here)/float64(p.bytes))
	}
	p.line.Show(share,
		terminal.Field{Text: fmt.Sprintf("%d/%d files", p.done, p.files), Rank: 2}, terminal.Field{Text: fmt.Sprintf("%s of %s", engine.Bytes(p.here), engine.Bytes(p.bytes))},
		terminal.Field{Text: engine.Bytes(int64(rate)) + "/s", Rank: 3}, terminal.Field{Text: left + " left", Rank: 1})
}

func (p *fetchProgress) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.line.End()
}
