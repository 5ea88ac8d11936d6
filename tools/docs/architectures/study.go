package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"

	"patchwork/internal/durable"
)

// system is one of the systems that are compared.
type system struct {
	name, title string
	flags       []string // of vlmtool train
}

var systems = []system{
	{"norms", "this project's: norms around one matrix", nil},
	{"linear", "one matrix (Fuyu)", []string{"--embedder", "linear"}},
	{"stem", "two convolutions (EVEv2's stem)", []string{"--embedder", "stem"}},
	{"experts", "norms, with image experts (EVEv2, Mono-InternVL-1.5)", []string{"--image-experts"}},
	{"encoder", "a vision transformer of 4 layers (SigLIP)", []string{"--embedder", "encoder"}},
}

// dataset is a data set's name, files and length of training.
type dataset struct {
	name, train, test string
	steps             int // of the first system
}

// study is the comparison.
type study struct {
	vlmtool, out, decoder, text, note string
	seeds, decoderSteps               int
	data                              []dataset

	results  []result
	first    map[string]float64 // ms to the first token, by system
	language []languageResult
}

// result is a finished run.
type result struct {
	System string `json:"system"`
	Data   string `json:"data"`
	Seed   int    `json:"seed"`
	Steps  int    `json:"steps"`
	cost
	Scores score `json:"scores"`
	// Shuffled are the scores with another sample's image.
	Shuffled score `json:"shuffled"`

	dir string
}

// cost is what train --dry-run prints.
type cost struct {
	Parameters   int64   `json:"parameters"`
	FlopsPerStep float64 `json:"flops_per_step"`
}

// score is what eval prints.
type score struct {
	ExactMatch float64 `json:"exact_match"`
	NLL        float64 `json:"nll_per_token"`
	Turns      int     `json:"turns"`
}

// recipe are the flags of all runs.
var recipe = []string{"--preset", "shapes", "--device", "cpu"}

// measure makes all runs that are not there yet.
func (s *study) measure(ctx context.Context) error {
	costs := map[string]cost{}
	for _, system := range systems {
		var c cost
		if err := s.call(ctx, &c, join("train", recipe, "--dry-run", system.flags)...); err != nil {
			return err
		}
		costs[system.name] = c
	}
	for _, data := range s.data {
		budget := float64(data.steps) * costs[systems[0].name].FlopsPerStep
		for seed := range s.seeds {
			for _, system := range systems {
				c := costs[system.name]
				r := result{System: system.name, Data: data.name, Seed: seed, Steps: max(1, int(math.Round(budget/c.FlopsPerStep))), cost: c}
				if err := s.finish(ctx, &r, system, data); err != nil {
					return err
				}
				s.results = append(s.results, r)
			}
		}
	}
	if err := s.measureFirstTokens(ctx); err != nil || s.decoder == "" {
		return err
	}
	return s.measureLanguage(ctx)
}

// finish reads the result of a run, or trains and scores a model.
func (s *study) finish(ctx context.Context, r *result, system system, data dataset) error {
	r.dir = filepath.Join(s.out, fmt.Sprintf("%s-%s-%d-%d", r.Data, r.System, r.Steps, r.Seed))
	return keep(filepath.Join(r.dir, "result.json"), r, func() error {
		if err := os.RemoveAll(r.dir); err != nil {
			return err
		}
		args := join("train", recipe, system.flags, "--data", data.train, "--out", r.dir, "--steps", strconv.Itoa(r.Steps), "--seed", strconv.Itoa(r.Seed),
			"--holdout", "0", "--val-every", "0", "--save-every", "0")
		if err := s.call(ctx, nil, args...); err != nil {
			return err
		}
		if err := s.score(ctx, &r.Scores, r.dir, data.test, "none"); err != nil {
			return err
		}
		return s.score(ctx, &r.Shuffled, r.dir, data.test, "shuffled")
	})
}

func (s *study) score(ctx context.Context, to *score, model, test, control string) error {
	return s.call(ctx, to, "eval", "--model", model, "--data", test, "--control", control, "--device", "cpu")
}

// keep reads v from a file; without one, it calls f, which sets v, and writes the file.
func keep(path string, v any, f func() error) error {
	data, err := os.ReadFile(path)
	switch {
	case err == nil:
		return json.Unmarshal(data, v)
	case !os.IsNotExist(err):
		return err
	}
	if err := f(); err != nil {
		return err
	}
	if data, err = json.Marshal(v); err != nil {
		return err
	}
	return durable.Replace(path, data)
}

// call runs vlmtool and reads the last line of its output, a JSON object, into to; nil = not.
func (s *study) call(ctx context.Context, to any, args ...string) error {
	if to != nil {
		args = append(args, "--json")
	}
	fmt.Fprintln(os.Stderr, "vlmtool", args)
	c := exec.CommandContext(ctx, s.vlmtool, append(args, "--quiet")...)
	c.Stderr = os.Stderr
	c.Cancel = func() error { return c.Process.Signal(os.Interrupt) }
	out, err := c.Output()
	if err != nil {
		return fmt.Errorf("vlmtool %s: %w", args[0], err)
	}
	if to == nil {
		return nil
	}
	lines := bytes.Split(bytes.TrimSpace(out), []byte("\n"))
	return json.Unmarshal(lines[len(lines)-1], to)
}

// join is one list of arguments: strings, and lists of strings.
func join(parts ...any) (args []string) {
	for _, p := range parts {
		switch p := p.(type) {
		case string:
			args = append(args, p)
		case []string:
			args = append(args, p...)
		}
	}
	return args
}

// firstTokenRuns is how often the time to the first token is measured; the least counts.
const firstTokenRuns = 5

// measureFirstTokens measures the models of the first data set and seed, interleaved. It is done in
// every call: another machine has other times.
func (s *study) measureFirstTokens(ctx context.Context) error {
	s.first = map[string]float64{}
	for range firstTokenRuns {
		for _, r := range s.results[:len(systems)] {
			var b struct {
				Prefill float64 `json:"prefill_ms"`
			}
			if err := s.call(ctx, &b, "bench", "infer", "--model", r.dir, "--prompt-tokens", "80", "--new", "8", "--device", "cpu"); err != nil {
				return err
			}
			if least, ok := s.first[r.System]; !ok || b.Prefill < least {
				s.first[r.System] = b.Prefill
			}
		}
	}
	return nil
}
