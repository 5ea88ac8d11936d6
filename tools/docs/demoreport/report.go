package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"patchwork/internal/smallfile"
	"patchwork/nn/safetensors"
	"patchwork/vlm/data"
	"patchwork/vlm/eval"
	"patchwork/vlm/train"
)

// report is the content of the page, the image and the summary.
type report struct {
	Dir        string
	All        score
	Families   []score
	Samples    int       // test images
	Examples   []example // an even selection, correct or not
	Mistakes   []example
	Example    example // the image of Command
	Command    string  // the vlmtool infer line
	Device     string
	Steps      int
	Seconds    float64 // of training
	TokensPerS float64
	Parameters int64
	Train      []train.StepMetrics
	Val        []train.ValMetrics
}

// score is the fraction of exact answers to a family of questions: of the model,
// of the most frequent training answer to each question, and of the model without the
// images.
type score struct {
	Name                             string
	Turns                            int
	Model, Baseline, Blank, Shuffled float64
}

// example is a question about a test image.
type example struct {
	eval.TurnResult
	Image []byte // PNG
}

// Maximum numbers of examples and mistakes.
const (
	examples = 8
	mistakes = 4
)

func load(dir string) (*report, error) {
	r := &report{Dir: dir}
	evals, prior, err := r.read(dir)
	if err != nil {
		return nil, err
	}
	r.score(evals, prior)
	if err := r.choose(evals[eval.ControlNone]); err != nil {
		return nil, err
	}
	return r, r.readRun(filepath.Join(dir, "model"))
}

// read reads the answers of every control, and those of the training data.
func (r *report) read(dir string) (evals map[string][]eval.TurnResult, p *prior, err error) {
	evals = map[string][]eval.TurnResult{}
	for _, control := range []string{eval.ControlNone, eval.ControlBlank, eval.ControlShuffled} {
		answers, result, err := readEval(filepath.Join(dir, "eval-"+control+".jsonl"))
		if err != nil {
			return nil, nil, err
		}
		evals[control] = answers
		r.Samples = result.Samples
	}
	p, err = readPrior(filepath.Join(dir, "data", "train-*.parquet"))
	return evals, p, err
}

// readEval reads the answers and the result of vlmtool eval --json --answers.
func readEval(path string) (answers []eval.TurnResult, result eval.Result, err error) {
	f, err := smallfile.Open(path, smallfile.Log)
	if err != nil {
		return nil, result, err
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		var answer eval.TurnResult
		var last eval.Result
		if err := errors.Join(json.Unmarshal(lines.Bytes(), &answer), json.Unmarshal(lines.Bytes(), &last)); err != nil {
			return nil, result, fmt.Errorf("%s: %w", path, err)
		}
		if last.Turns > 0 {
			result = last
		} else {
			answers = append(answers, answer)
		}
	}
	if err := lines.Err(); err != nil {
		return nil, result, fmt.Errorf("%s: %w", path, err)
	}
	if len(answers) == 0 || len(answers) != result.Turns {
		return nil, result, fmt.Errorf("%s: %d answers, but the result counts %d; was it written by vlmtool eval --json --answers?", path, len(answers), result.Turns)
	}
	return answers, result, nil
}

// family is the kind of a question.
func family(question string) string {
	switch {
	case strings.Contains(question, "left") || strings.Contains(question, "right"):
		return "what is on the left or right?"
	case strings.HasPrefix(question, "how many"):
		return "how many shapes are there?"
	case strings.HasPrefix(question, "is "):
		return "is there a circle?"
	case strings.Contains(question, "color"):
		return "what color is the circle?"
	}
	return "what shape is red?"
}

// score compares the evaluations, family by family.
func (r *report) score(evals map[string][]eval.TurnResult, prior *prior) {
	r.All = scoreOf("all questions", evals, prior, func(string) bool { return true })
	seen := map[string]bool{}
	for _, a := range evals[eval.ControlNone] {
		name := family(a.Question)
		if seen[name] {
			continue
		}
		seen[name] = true
		r.Families = append(r.Families, scoreOf(name, evals, prior, func(question string) bool { return family(question) == name }))
	}
}

func scoreOf(name string, evals map[string][]eval.TurnResult, prior *prior, in func(question string) bool) score {
	matches := func(control string, match func(eval.TurnResult) bool) (fraction float64, turns int) {
		n := 0
		for _, a := range evals[control] {
			if in(a.Question) {
				turns++
				if match(a) {
					n++
				}
			}
		}
		return float64(n) / float64(max(1, turns)), turns
	}
	correct := func(a eval.TurnResult) bool { return a.Match }
	s := score{Name: name}
	s.Model, s.Turns = matches(eval.ControlNone, correct)
	s.Blank, _ = matches(eval.ControlBlank, correct)
	s.Shuffled, _ = matches(eval.ControlShuffled, correct)
	s.Baseline, _ = matches(eval.ControlNone, func(a eval.TurnResult) bool { return prior.answer(a.Question) == a.Truth })
	return s
}

// choose picks examples from the whole test set, alternating between the families, and
// some mistakes.
func (r *report) choose(answers []eval.TurnResult) error {
	set, err := data.Open(context.Background(), data.Local(answers[0].File))
	if err != nil {
		return err
	}
	show := func(a eval.TurnResult) (example, error) {
		row, err := set.Row(a.Row)
		if err != nil {
			return example{}, err
		}
		if len(row.Images) == 0 {
			return example{}, fmt.Errorf("%s: row %d has no image", a.File, a.Row)
		}
		return example{a, row.Images[0]}, nil
	}
	for i := range examples {
		want := r.Families[i%len(r.Families)].Name
		for _, a := range answers[i*len(answers)/examples:] {
			if family(a.Question) != want {
				continue
			}
			e, err := show(a)
			if err != nil {
				return err
			}
			r.Examples = append(r.Examples, e)
			break
		}
	}
	for _, a := range answers {
		if a.Match || len(r.Mistakes) == mistakes {
			continue
		}
		e, err := show(a)
		if err != nil {
			return err
		}
		r.Mistakes = append(r.Mistakes, e)
	}
	if len(r.Examples) == 0 {
		return errors.New("no examples found")
	}
	r.Example = r.Examples[0]
	r.Command = fmt.Sprintf("bin/vlmtool infer --model %s --image %s --prompt %q",
		filepath.Join(r.Dir, "model"), filepath.Join(r.Dir, "example.png"), r.Example.Question)
	return nil
}

// readRun reads the run's device, metrics and parameters.
func (r *report) readRun(dir string) error {
	var run struct {
		Device struct{ Device, Name string }
	}
	text, err := smallfile.Read(filepath.Join(dir, "run.json"), smallfile.Config)
	if err == nil {
		err = json.Unmarshal(text, &run)
	}
	if err != nil {
		return err
	}
	r.Device = fmt.Sprintf("%s (%s)", run.Device.Device, run.Device.Name)
	if r.Train, r.Val, err = readMetrics(filepath.Join(dir, "metrics.jsonl")); err != nil {
		return err
	}
	if len(r.Train) == 0 {
		return fmt.Errorf("%s: the run has no steps", dir)
	}
	last := r.Train[len(r.Train)-1]
	r.Steps, r.Seconds, r.TokensPerS = last.Step, last.Seconds, float64(last.Tokens)/last.Seconds
	weights, err := safetensors.Open(filepath.Join(dir, "model.safetensors"))
	if err != nil {
		return err
	}
	defer weights.Close()
	for _, name := range weights.Names() {
		t, _ := weights.Tensor(name)
		n := int64(1)
		for _, d := range t.Shape {
			n *= int64(d)
		}
		r.Parameters += n
	}
	return nil
}

// percent formats a fraction.
func percent(fraction float64) string { return fmt.Sprintf("%.1f%%", 100*fraction) }

// duration formats seconds: "1m42s".
func duration(seconds float64) string {
	return time.Duration(seconds * float64(time.Second)).Round(time.Second).String()
}

// thousands formats 1234567 as "1,234,567".
func thousands[T int | int64](n T) string {
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
