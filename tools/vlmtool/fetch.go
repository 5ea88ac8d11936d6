package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"patchwork/engine"
	"patchwork/vlm/hub"
	"patchwork/vlm/train"
)

type fetchFlags struct {
	out, preset, kind string
	include, exclude  []string
	jobs              int
}

var fetchCommand = command{
	name: "fetch", usage: "REPO[@REV] --out DIR [flags]", about: "bring a model or a data set from the Hugging Face hub",
	text: "Downloads a repository of the Hugging Face hub, several files at a time. The same command goes on where an interrupted one stopped; every file is checked by its sum. HF_TOKEN and HF_ENDPOINT are honoured.",
	examples: []example{
		{"vlmtool fetch --preset smollm2-135m --out smollm2", "the decoder that a preset starts from"},
		{"vlmtool fetch HuggingFaceTB/SmolLM2-135M-Instruct@main --include '*.json' --out smollm2", "some of a repository's files"},
		{"vlmtool fetch datasets/HuggingFaceM4/FineVision --include 'CoSyn_400k_chart/*' --out data", "a data set's folder"},
	},
	args:    positional{metavar: "REPO", most: 1},
	declare: declareFetch,
}

func declareFetch(a *app) action {
	f := &fetchFlags{}
	a.flags.StringVar(&f.out, "out", "", "DIR: folder that receives the files")
	a.choice(&f.preset, "preset", "", "NAME: fetch the decoder that a preset starts from, instead of naming it", train.PresetNames...)
	a.choice(&f.kind, "type", "", "WORD: what REPO is, where there are both of that name", string(hub.Model), string(hub.Dataset))
	a.flags.StringArrayVar(&f.include, "include", nil, "PATTERN: files to fetch, such as '*.gguf' or 'folder/*'; may be given several times")
	a.flags.StringArrayVar(&f.exclude, "exclude", nil, "PATTERN: files to leave; may be given several times")
	a.flags.IntVar(&f.jobs, "jobs", 4, "files at a time")
	return func(ctx context.Context) error { return f.fetch(ctx, a) }
}

func (f *fetchFlags) fetch(ctx context.Context, a *app) error {
	repo, err := f.repo(a.flags.Arg(0))
	if err != nil {
		return err
	}
	if f.jobs < 1 {
		return usagef("--jobs cannot be %d, want 1 or more", f.jobs)
	}
	client, err := hub.NewClient()
	if err != nil {
		return usageError{err}
	}
	view := newFetchView(a)
	client.Note = view.note
	result, err := client.Fetch(ctx, repo, hub.Options{Out: f.out, Include: f.include, Exclude: f.exclude, Jobs: f.jobs, Observe: view.observer()})
	view.end()
	if ctx.Err() != nil {
		slog.Info("what has come so far stays; the same command goes on with it")
		return ctx.Err()
	}
	var status *hub.StatusError
	if errors.As(err, &status) {
		return fmt.Errorf("%s: %w", repo, err)
	}
	if err != nil {
		return err
	}
	if a.json {
		return a.result(result)
	}
	if !a.quiet {
		fmt.Fprintf(a.stderr, "%d files of %s at commit %.12s, %s, %s of it downloaded; they are in %s\n",
			result.Files, result.Repo, result.Commit, engine.Bytes(result.Bytes), engine.Bytes(result.Downloaded), result.Out)
	}
	return nil
}

// repo is the repository that the argument or the preset names.
func (f *fetchFlags) repo(arg string) (hub.Repo, error) {
	switch {
	case arg == "" && f.preset == "":
		return hub.Repo{}, usagef("what is to be fetched is missing: OWNER/NAME, datasets/OWNER/NAME or --preset NAME")
	case arg != "" && f.preset != "":
		return hub.Repo{}, usagef("%s and --preset are both given; one is enough", arg)
	case f.out == "":
		return hub.Repo{}, usagef("--out is missing: the folder that receives the files")
	}
	if f.preset != "" {
		recipe, err := train.Preset(f.preset)
		if err != nil {
			return hub.Repo{}, usageError{err}
		}
		if arg = recipe.Decoder; arg == "" {
			return hub.Repo{}, usagef("preset %s is trained from scratch: there is nothing to fetch", f.preset)
		}
	}
	repo, err := hub.ParseRepo(arg)
	if err != nil {
		return repo, usageError{err}
	}
	switch kind := hub.Kind(f.kind); {
	case kind == hub.Any:
	case repo.Kind != hub.Any && repo.Kind != kind:
		return repo, usagef("--type %s does not fit %s", f.kind, arg)
	default:
		repo.Kind = kind
	}
	return repo, nil
}

// fetchView shows a download: one live line on a terminal, else a plain line
// every few seconds.
type fetchView struct {
	mu           sync.Mutex
	line         *liveLine
	files, done  int
	bytes, here  int64
	start, first int64 // nanoseconds and bytes when the first new byte came
}

func newFetchView(a *app) *fetchView { return &fetchView{line: newLiveLine(a)} }

func (v *fetchView) observer() hub.Observer {
	return hub.Observer{
		Start: func(r hub.Repo, files []hub.File, bytes int64) {
			v.files, v.bytes = len(files), bytes
			slog.Info(fmt.Sprintf("%s: %d files, %s", r, len(files), engine.Bytes(bytes)))
		},
		Bytes: func(here int64) { v.update(func() { v.here = max(v.here, here) }) },
		Done:  func(hub.File, int64) { v.update(func() { v.done++ }) },
	}
}

func (v *fetchView) note(s string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.line.above(func() { slog.Warn(s) })
}

func (v *fetchView) update(change func()) {
	v.mu.Lock()
	defer v.mu.Unlock()
	change()
	now := time.Now().UnixNano()
	if v.start == 0 {
		v.start, v.first = now, v.here
	}
	if !v.line.due(v.done == v.files) {
		return
	}
	rate, left := 0.0, "?"
	if s := float64(now-v.start) / 1e9; s > 0 && v.here > v.first {
		rate = float64(v.here-v.first) / s
		left = seconds(float64(v.bytes-v.here) / rate)
	}
	share := 0.0
	if v.bytes > 0 {
		share = min(1, float64(v.here)/float64(v.bytes))
	}
	v.line.show(share,
		field{text: fmt.Sprintf("%d/%d files", v.done, v.files), rank: 2}, field{text: fmt.Sprintf("%s of %s", engine.Bytes(v.here), engine.Bytes(v.bytes))},
		field{text: engine.Bytes(int64(rate)) + "/s", rank: 3}, field{text: left + " left", rank: 1})
}

func (v *fetchView) end() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.line.end()
}
