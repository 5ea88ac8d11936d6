package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"

	"patchwork/internal/durable"
	"patchwork/vlm/data"
	"patchwork/vlm/eval"
)

// soundReport is the report of a model that hears: its families are the voices of the test.
type soundReport struct {
	report
	Examples, Mistakes []clip
}

// clip is a question about a clip of the test.
type clip struct {
	eval.TurnResult
	Voice string
	Sound []byte // WAV
}

// hears reports whether the test of a demo has sound.
func hears(dir string) (bool, error) {
	files, err := data.Resolve([]string{filepath.Join(dir, "data", "test-*.parquet")})
	if err != nil {
		return false, err
	}
	set, err := data.Open(context.Background(), files)
	if err != nil {
		return false, err
	}
	defer set.Close()
	return set.HasSound(1)
}

func loadSound(dir string) (*soundReport, error) {
	r := &soundReport{report: report{Dir: dir}}
	evals, prior, err := r.read(dir)
	if err != nil {
		return nil, err
	}
	r.All = scoreOf("all words", evals, prior, func(string) bool { return true })
	if err := r.listen(evals[eval.ControlNone]); err != nil {
		return nil, err
	}
	return r, r.readRun(filepath.Join(dir, "model"))
}

// listen counts the voices' right answers, and picks examples and mistakes.
func (r *soundReport) listen(answers []eval.TurnResult) error {
	set, err := data.Open(context.Background(), data.Local(answers[0].File))
	if err != nil {
		return err
	}
	defer set.Close()
	right, turns := map[string]int{}, map[string]int{}
	for i, a := range answers {
		row, err := set.Row(a.Row)
		if err != nil {
			return err
		}
		if len(row.Clips) == 0 {
			return fmt.Errorf("%s: row %d has no sound", a.File, a.Row)
		}
		turns[row.Source]++
		c := clip{a, row.Source, row.Clips[0]}
		if a.Match {
			right[row.Source]++
		} else if len(r.Mistakes) < mistakes {
			r.Mistakes = append(r.Mistakes, c)
		}
		if i%max(1, len(answers)/examples) == 0 && len(r.Examples) < examples {
			r.Examples = append(r.Examples, c)
		}
	}
	for voice, n := range turns {
		r.Families = append(r.Families, score{Name: voice, Turns: n, Model: float64(right[voice]) / float64(n)})
	}
	slices.SortFunc(r.Families, func(a, b score) int { return strings.Compare(a.Name, b.Name) })
	r.Command = fmt.Sprintf("bin/vlmtool infer --model %s --audio %s --prompt %q", filepath.Join(r.Dir, "model"), filepath.Join(r.Dir, "example.wav"), r.Examples[0].Question)
	return nil
}

// write writes example.wav and index.html.
func (r *soundReport) write() error {
	if err := durable.Replace(filepath.Join(r.Dir, "example.wav"), r.Examples[0].Sound); err != nil {
		return err
	}
	var out bytes.Buffer
	if err := soundPage.Execute(&out, struct {
		*soundReport
		Curve curve
		Bars  []bar
	}{r, newCurve(r.Train, r.Val), []bar{
		{"the model", "with the sound", r.All.Model, true},
		{"most frequent answer", "from the training data", r.All.Baseline, false},
		{"the model, silence", "--control blank", r.All.Blank, false},
		{"the model, other clips’ sound", "--control shuffled", r.All.Shuffled, false},
	}}); err != nil {
		return err
	}
	return durable.Replace(filepath.Join(r.Dir, "index.html"), out.Bytes())
}

// print writes the summary.
func (r *soundReport) print(out io.Writer) {
	fmt.Fprintf(out, "\n%s of %s words are right, said in %d voices that training did not hear,\n", percent(r.All.Model), thousands(r.All.Turns), len(r.Families))
	fmt.Fprintf(out, "after %s of training on %s.\n\n", duration(r.Seconds), r.Device)
	fmt.Fprintf(out, "  %-32s %s\n", "most frequent answer, no sound", percent(r.All.Baseline))
	fmt.Fprintf(out, "  %-32s %s\n", "the model, silence", percent(r.All.Blank))
	fmt.Fprintf(out, "  %-32s %s\n\n", "the model, other clips' sound", percent(r.All.Shuffled))
	worst := slices.MinFunc(r.Families, func(a, b score) int { return int(1e6 * (a.Model - b.Model)) })
	fmt.Fprintf(out, "  %-32s %s (%s)\n", "its worst voice", percent(worst.Model), worst.Name)
	fmt.Fprintf(out, "\nOpen %s, then ask the model yourself:\n\n  %s\n\n", filepath.Join(r.Dir, "index.html"), r.Command)
}
