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

// Controls replace the pictures of an evaluation, to show whether a model looks
// at them.
const (
	ControlNone     = "none"
	ControlShuffled = "shuffled" // each sample sees the next one's picture
	ControlBlank    = "blank"    // all white
)

// Options say what to evaluate.
type Options struct {
	Data    []string // resolved files
	Limit   int      // samples; 0 = all
	HoldOut int      // only the rows that training with --holdout N leaves out; 0 = all
	Control string
	// Choices, when set, names the answers that a question has to choose from.
	Choices Choices
	// Captions has every answer generated to its end and compared word by word.
	Captions     bool
	MaxNewTokens int              // of a generated caption; 0 = 128
	Answer       func(TurnResult) // called for every turn, when set
	BadRow       func(data.Verdict)
}

// TurnResult is one turn's outcome.
type TurnResult struct {
	File     string  `json:"file"`
	Row      int     `json:"row"`
	Control  string  `json:"control"`
	Question string  `json:"question"`
	Truth    string  `json:"truth"`
	Answer   string  `json:"answer"` // greedy, as far as it was needed to judge it
	Match    bool    `json:"match"`
	NLL      float64 `json:"nll"`              // of the true answer and its end of turn, in nats
	Tokens   int     `json:"tokens"`           // of both
	Choice   *string `json:"choice,omitempty"` // the likeliest of the choices
	CIDErD   float64 `json:"cider_d,omitempty"`
}

// Result is the outcome of an evaluation.
type Result struct {
	Samples     int     `json:"samples"`
	Turns       int     `json:"turns"`
	ExactMatch  float64 `json:"exact_match"`
	NLLPerToken float64 `json:"nll_per_token"`
	Perplexity  float64 `json:"perplexity"` // e to the power of NLLPerToken
	Tokens      int     `json:"tokens"`     // of answers and ends of turn
	Skipped     int     `json:"skipped"`
	Control     string  `json:"control"`
	Device      string  `json:"device"`
	*ChoiceResult
	*CaptionResult
}

// evaluator scores a model turn by turn. All of a sample's turns go through the
// model at once, each in a branch of its own behind the picture, with its true
// answer: where the likeliest token is the true one all the way, that answer is
// what greedy decoding gives. Where they part, the text so far usually settles
// that the answer differs; where it does not, the answer is generated.
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

// Run asks every turn of the data alone about its picture.
func Run(ctx context.Context, l *vlm.Runner, o Options) (Result, error) {
	if l.Config.Vision.None() {
		return Result{}, errors.New("the model is a decoder that reads text alone: it can be scored on a text, not about pictures")
	}
	if o.Control == "" {
		o.Control = ControlNone
	}
	e := &evaluator{Runner: l, Options: o, stats: data.NewRowStats(o.BadRow), generator: generate.New(l), scorers: map[int]*scorer{}}
	defer e.free()
	set, err := data.Open(o.Data)
	if err != nil {
		return Result{}, err
	}
	if err := checkShuffled(set, o); err != nil {
		return Result{}, err
	}
	if err := e.samples(ctx, set); err != nil {
		return Result{}, err
	}
	r := &e.result
	if r.Turns == 0 {
		return *r, fmt.Errorf("%s: no row can be evaluated: %s", o.Data[0], e.stats)
	}
	r.ExactMatch, r.NLLPerToken = float64(e.matches)/float64(r.Turns), e.nll/float64(max(r.Tokens, 1))
	r.Perplexity = math.Exp(r.NLLPerToken)
	r.ChoiceResult, r.CaptionResult = e.choices.result(), e.finishCaptions()
	r.Skipped, r.Control, r.Device = e.stats.Bad(), o.Control, l.Device.Info().Device
	return *r, nil
}

// sample is a row with its prepared pictures.
type sample struct {
	data.Row
	pictures [][]byte
}

func (e *evaluator) samples(ctx context.Context, set *data.Dataset) error {
	var first, previous *sample
	held := data.HoldOut(e.HoldOut)
	for i := range set.Len() {
		if e.Limit > 0 && e.result.Samples >= e.Limit || ctx.Err() != nil {
			break
		}
		if e.HoldOut > 0 && !held(i) {
			continue
		}
		s, err := e.read(set, i)
		if err != nil {
			return err
		}
		if s == nil {
			continue
		}
		e.result.Samples++
		if e.Control != ControlShuffled {
			e.blank(s)
			if err := e.turns(ctx, s); err != nil {
				return err
			}
			continue
		}
		// The derangement: every sample has the next one's pictures, the last the
		// first one's. Turns are scored one sample behind.
		if first == nil {
			first = s
		} else if err := e.turns(ctx, &sample{previous.Row, lend(s.pictures, len(previous.pictures))}); err != nil {
			return err
		}
		previous = s
	}
	if previous != nil && previous == first {
		return ErrNotShuffled
	}
	if previous != nil {
		if err := e.turns(ctx, &sample{previous.Row, lend(first.pictures, len(previous.pictures))}); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// lend repeats or cuts pictures to the number that is needed.
func lend(pictures [][]byte, n int) [][]byte {
	var out [][]byte
	for i := range n {
		if len(pictures) == 0 {
			break
		}
		out = append(out, pictures[i%len(pictures)])
	}
	return out
}

func (e *evaluator) blank(s *sample) {
	if e.Control != ControlBlank {
		return
	}
	for i := range s.pictures {
		s.pictures[i] = slices.Repeat([]byte{255}, len(s.pictures[i]))
	}
}

// read prepares a row; it returns nil for one that cannot be used.
func (e *evaluator) read(set *data.Dataset, i int) (*sample, error) {
	row, err := set.Row(i)
	if v, ok := data.Damaged(err); ok {
		e.stats.Record(i, v)
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	pictures, verdict := data.Prepare(row, e.Config.Vision.ImageSize)
	e.stats.Record(i, verdict)
	if verdict.Status != data.Use {
		return nil, nil
	}
	return &sample{row, pictures}, nil
}
