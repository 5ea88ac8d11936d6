// Package eval evaluates models: exact match, likelihood, choices and captions on questions about
// images and sound, and perplexity on text.
package eval

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"

	"patchwork/vlm"
	"patchwork/vlm/data"
	"patchwork/vlm/generate"
)

// Controls replace the images and the sound of an evaluation, to show whether the answers depend on them.
const (
	ControlNone     = "none"
	ControlShuffled = "shuffled" // each sample gets the next one's images and sound
	ControlBlank    = "blank"    // all white, and silence
)

// Options are the inputs of Run.
type Options struct {
	Data    []data.File
	Limit   int // samples; 0 = all
	HoldOut int // only the rows held out by training with --holdout N; 0 = all
	Control string
	// Choices, unless nil, returns the answers that a question has to choose from.
	Choices Choices
	// Captions scores complete generated answers with BLEU-4 and CIDEr-D.
	Captions     bool
	MaxNewTokens int              // for captions; 0 = 128
	Answer       func(TurnResult) // called for every turn, unless nil
	BadRow       func(data.Verdict)
}

// TurnResult is the result of one turn.
type TurnResult struct {
	File     string  `json:"file"`
	Row      int     `json:"row"`
	Control  string  `json:"control"`
	Question string  `json:"question"`
	Truth    string  `json:"truth"`
	Answer   string  `json:"answer"` // greedy, up to where it is known to differ from the true answer
	Match    bool    `json:"match"`
	NLL      float64 `json:"nll"`              // of the true answer and its end of turn, in nats
	Tokens   int     `json:"tokens"`           // of the true answer and its end of turn
	Choice   *string `json:"choice,omitempty"` // the most likely choice
	CIDErD   float64 `json:"cider_d,omitempty"`
}

// Result is the result of an evaluation.
type Result struct {
	Samples     int     `json:"samples"`
	Turns       int     `json:"turns"`
	ExactMatch  float64 `json:"exact_match"`
	NLLPerToken float64 `json:"nll_per_token"`
	Perplexity  float64 `json:"perplexity"` // exp(NLLPerToken)
	Tokens      int     `json:"tokens"`     // of true answers and their ends of turn
	Skipped     int     `json:"skipped"`
	Control     string  `json:"control"`
	Device      string  `json:"device"`
	*ChoiceResult
	*CaptionResult
}

// evaluator scores a model turn by turn. All turns of a sample run through the model at once, each
// with its true answer after the shared prefix of the image. If the argmax is the true token
// everywhere, greedy decoding gives the true answer. Where they differ, the tokens up to there
// usually prove that the answer differs; otherwise it is generated.
type evaluator struct {
	*vlm.Runner
	Options
	stats     *data.RowStats
	generator *generate.Generator
	scorers   map[int]*scorer // by row length
	result    Result
	nll       float64
	matches   int
	choices   choiceCount
	captions  captionCount
}

// Run asks every turn of the data, each on its own, about its images and sound.
func Run(ctx context.Context, runner *vlm.Runner, o Options) (Result, error) {
	if runner.Config.TextOnly() {
		return Result{}, errors.New("the model is a text-only decoder: it can be scored on a text, but not on images or sound")
	}
	if o.Control == "" {
		o.Control = ControlNone
	}
	e := &evaluator{Runner: runner, Options: o, stats: data.NewRowStats(o.BadRow), generator: generate.New(runner), scorers: map[int]*scorer{}}
	defer e.close()
	set, err := data.Open(ctx, o.Data)
	if err != nil {
		return Result{}, err
	}
	defer set.Close()
	if err := checkShuffled(set, o); err != nil {
		return Result{}, err
	}
	if err := e.evaluateSamples(ctx, set); err != nil {
		return Result{}, err
	}
	r := &e.result
	if r.Turns == 0 {
		return *r, fmt.Errorf("%s: no row can be evaluated: %s", o.Data[0].Name(), e.stats)
	}
	r.ExactMatch, r.NLLPerToken = float64(e.matches)/float64(r.Turns), e.nll/float64(max(r.Tokens, 1))
	r.Perplexity = math.Exp(r.NLLPerToken)
	r.ChoiceResult, r.CaptionResult = e.choices.result(), e.finishCaptions()
	r.Skipped, r.Control, r.Device = e.stats.Bad(), o.Control, runner.Device.Info().Device
	return *r, nil
}

// sample is a row with its prepared images and sound.
type sample struct {
	data.Row
	files data.Prepared
}

func (e *evaluator) evaluateSamples(ctx context.Context, set *data.Dataset) error {
	var first, previous *sample
	held := data.HoldOut(e.HoldOut)
	for i := range set.Len() {
		if e.Limit > 0 && e.result.Samples >= e.Limit || ctx.Err() != nil {
			break
		}
		if e.HoldOut > 0 && !held(i) {
			continue
		}
		s, err := e.prepare(set, i)
		if err != nil {
			return err
		}
		if s == nil {
			continue
		}
		e.result.Samples++
		if e.Control != ControlShuffled {
			e.blank(s)
			if err := e.evaluateTurns(ctx, s); err != nil {
				return err
			}
			continue
		}
		// Every sample gets the next one's files, the last those of the first. Turns are
		// scored one sample later.
		if first == nil {
			first = s
		} else if err := e.evaluateTurns(ctx, &sample{previous.Row, exchanged(s.files, previous.files)}); err != nil {
			return err
		}
		previous = s
	}
	if previous != nil && previous == first {
		return ErrNotShuffled
	}
	if previous != nil {
		if err := e.evaluateTurns(ctx, &sample{previous.Row, exchanged(first.files, previous.files)}); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// exchanged returns another sample's files, as many as there are in place of which they are.
func exchanged(files, inPlaceOf data.Prepared) data.Prepared {
	n := len(inPlaceOf.Images)
	return data.Prepared{Images: repeated(files.Images, n), Sizes: repeated(files.Sizes, n), Clips: repeated(files.Clips, len(inPlaceOf.Clips))}
}

// repeated repeats or truncates files to n.
func repeated[T any](files []T, n int) (out []T) {
	for i := range n {
		if len(files) == 0 {
			break
		}
		out = append(out, files[i%len(files)])
	}
	return out
}

func (e *evaluator) blank(s *sample) {
	if e.Control != ControlBlank {
		return
	}
	for i := range s.files.Images {
		s.files.Images[i] = slices.Repeat([]byte{255}, len(s.files.Images[i]))
	}
	for _, samples := range s.files.Clips {
		clear(samples)
	}
}

// prepare preprocesses a row; it returns nil if the row cannot be used.
func (e *evaluator) prepare(set *data.Dataset, i int) (*sample, error) {
	row, err := set.Row(i)
	if v, ok := data.Damaged(err); ok {
		e.stats.Record(i, v)
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	files, verdict := data.Prepare(row, data.Media{Images: e.Config.Vision.Fit(), SampleRate: e.Config.Audio.SampleRate})
	if verdict.Status == data.Use && len(row.Clips) > 1 && len(row.Answered()) > 1 && row.NamesSound() {
		verdict = row.Skip("its questions have places for their own sound, and cannot be asked one by one")
	}
	e.stats.Record(i, verdict)
	if verdict.Status != data.Use {
		return nil, nil
	}
	return &sample{row, files}, nil
}
