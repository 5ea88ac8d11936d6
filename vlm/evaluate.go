package vlm

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"

	"patchwork/vlm/batch"
	"patchwork/vlm/chat"
	"patchwork/vlm/data"
)

// Controls replace the pictures of an evaluation, to show whether a model looks
// at them.
const (
	ControlNone     = "none"
	ControlShuffled = "shuffled" // each sample sees the next one's picture
	ControlBlank    = "blank"    // all white
)

// EvalOptions say what to evaluate.
type EvalOptions struct {
	Data    []string // resolved files
	Limit   int      // samples; 0 = all
	Control string
	Answer  func(EvalAnswer) // called for every turn, when set
	BadRow  func(data.Verdict)
}

// EvalAnswer is one turn's outcome.
type EvalAnswer struct {
	File     string  `json:"file"`
	Row      int     `json:"row"`
	Question string  `json:"question"`
	Truth    string  `json:"truth"`
	Answer   string  `json:"answer"` // greedy, as far as it was needed to judge it
	Match    bool    `json:"match"`
	NLL      float64 `json:"nll"` // of the true answer and its end of turn, in nats
}

// EvalResult is the outcome of an evaluation.
type EvalResult struct {
	Samples     int     `json:"samples"`
	Turns       int     `json:"turns"`
	ExactMatch  float64 `json:"exact_match"`
	NLLPerToken float64 `json:"nll_per_token"`
	Tokens      int     `json:"tokens"` // of answers and ends of turn
	Skipped     int     `json:"skipped"`
	Control     string  `json:"control"`
	Device      string  `json:"device"`
}

// evaluator scores a model turn by turn. All of a sample's turns go through the
// model at once, each in a branch of its own behind the picture, with its true
// answer: where the likeliest token is the true one all the way, that answer is
// what greedy decoding gives. Where they part, the text so far usually settles
// that the answer differs; where it does not, the answer is generated.
type evaluator struct {
	*Loaded
	EvalOptions
	tally     *Tally
	generator *Generator
	steppers  map[int]*Stepper // by row length
	result    EvalResult
	nll       float64
	matches   int
}

// Evaluate asks every turn of the data alone about its picture.
func Evaluate(ctx context.Context, l *Loaded, o EvalOptions) (EvalResult, error) {
	if o.Control == "" {
		o.Control = ControlNone
	}
	e := &evaluator{Loaded: l, EvalOptions: o, tally: NewTally(o.BadRow), generator: NewGenerator(l), steppers: map[int]*Stepper{}}
	defer e.generator.Free()
	set, err := data.Open(o.Data)
	if err != nil {
		return EvalResult{}, err
	}
	if err := e.samples(ctx, set); err != nil {
		return EvalResult{}, err
	}
	r := e.result
	if r.Turns == 0 {
		return r, fmt.Errorf("%s: no row can be evaluated: %s", o.Data[0], e.tally)
	}
	r.ExactMatch, r.NLLPerToken = float64(e.matches)/float64(r.Turns), e.nll/float64(max(r.Tokens, 1))
	r.Skipped, r.Control, r.Device = e.tally.Bad(), o.Control, l.Device.Info().Device
	return r, nil
}

// evalSample is a row with its prepared pictures.
type evalSample struct {
	data.Row
	pictures [][]byte
}

func (e *evaluator) samples(ctx context.Context, set *data.Dataset) error {
	var first, previous *evalSample
	for i := range set.Len() {
		if e.Limit > 0 && e.result.Samples >= e.Limit || ctx.Err() != nil {
			break
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
			if err := e.score(ctx, s); err != nil {
				return err
			}
			continue
		}
		// The derangement: every sample has the next one's pictures, the last the
		// first one's. Turns are scored one sample behind.
		if first == nil {
			first = s
		} else if err := e.score(ctx, &evalSample{previous.Row, lend(s.pictures, len(previous.pictures))}); err != nil {
			return err
		}
		previous = s
	}
	if previous != nil {
		if err := e.score(ctx, &evalSample{previous.Row, lend(first.pictures, len(previous.pictures))}); err != nil {
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

func (e *evaluator) blank(s *evalSample) {
	if e.Control != ControlBlank {
		return
	}
	for i := range s.pictures {
		s.pictures[i] = slices.Repeat([]byte{255}, len(s.pictures[i]))
	}
}

// read prepares a row; it returns nil for one that cannot be used.
func (e *evaluator) read(set *data.Dataset, i int) (*evalSample, error) {
	row, err := set.Row(i)
	if err != nil {
		return nil, err
	}
	pictures, verdict := prepare(row, e.Config.Vision.ImageSize)
	e.tally.judged(i, verdict)
	if verdict.Status != data.Use {
		return nil, nil
	}
	return &evalSample{row, pictures}, nil
}

// score asks all turns of a sample.
func (e *evaluator) score(ctx context.Context, s *evalSample) error {
	var turns []chat.Turn
	for _, t := range s.Answered() {
		turns = append(turns, chat.Turn{User: t.User, Assistant: t.Assistant})
	}
	modes := batch.Modes{Attention: e.Config.Attention, Turns: batch.InBranches, Loss: batch.OnAnswers}
	if e.Config.Attention == batch.Seed { // knows no branches
		modes.Turns = batch.InConversation
		for _, t := range turns {
			if err := e.scoreTurns(ctx, s, []chat.Turn{t}, modes); err != nil {
				return err
			}
		}
		return nil
	}
	return e.scoreTurns(ctx, s, turns, modes)
}

// maxEvalRow bounds the tokens of a row of branches.
const maxEvalRow = 1 << 14

func (e *evaluator) scoreTurns(ctx context.Context, s *evalSample, turns []chat.Turn, modes batch.Modes) error {
	c := chat.Conversation{Turns: turns, Images: len(s.pictures)}
	longest := 0
	if modes.Turns == batch.InBranches {
		b, err := e.Language.Branches(c)
		if err != nil {
			return err
		}
		longest = len(b.Prefix.IDs)
		for _, branch := range b.Branches {
			if len(b.Prefix.IDs)+len(branch.IDs) > e.Config.Text.MaxPositionEmbeddings {
				return &ContextError{len(b.Prefix.IDs) + len(branch.IDs), 0, e.Config.Text.MaxPositionEmbeddings}
			}
			longest += len(branch.IDs)
		}
	} else {
		tokens, err := e.Language.Conversation(c)
		if err != nil {
			return err
		}
		longest = len(tokens.IDs)
	}
	length := min(roundUp(longest, 64), maxEvalRow)
	sampler := batch.Sampler{Encoder: e.Language.Encoder, RowLen: length, Turns: modes.Turns}
	samples, _, err := sampler.Samples(s.Index, c)
	if err != nil {
		return err
	}
	next := 0 // turn
	for _, sample := range samples {
		n, err := e.scoreSample(ctx, s, sample, turns[next:], modes, length)
		if err != nil {
			return err
		}
		next += n
	}
	return nil
}

func roundUp(n, to int) int { return (n + to - 1) / to * to }

// scoreSample scores the turns that one packed sample holds and returns their
// number.
func (e *evaluator) scoreSample(ctx context.Context, s *evalSample, sample *batch.Sample, turns []chat.Turn, modes batch.Modes, length int) (int, error) {
	b, err := batch.Build(batch.Shape{Rows: 1, T: length, Patches: e.Config.Vision.Patches()}, modes, [][]*batch.Sample{{sample}})
	if err != nil {
		return 0, err
	}
	stepper, err := e.stepper(length, len(s.pictures))
	if err != nil {
		return 0, err
	}
	nll, best, err := stepper.Evaluate(ctx, b, slices.Concat(s.pictures...))
	if err != nil {
		return 0, err
	}
	starts := sample.Branches
	if len(starts) == 0 {
		starts = []int{0}
	}
	at := 0 // target
	for i, lo := range starts {
		hi := sample.Len()
		if i+1 < len(starts) {
			hi = starts[i+1]
		}
		var truth []int32
		first := at
		for _, id := range b.Targets[lo:hi] {
			if id != batch.Ignore {
				truth = append(truth, id)
				at++
			}
		}
		if err := e.judge(ctx, s, turns[i], truth, best[first:at], nll[first:at]); err != nil {
			return 0, err
		}
	}
	return len(starts), nil
}

// stepper evaluates rows of a length with so many pictures at most.
func (e *evaluator) stepper(length, pictures int) (*Stepper, error) {
	s := e.steppers[length]
	if s != nil && s.Shape.Pictures >= pictures {
		return s, nil
	}
	if s != nil {
		s.Close()
	}
	made, err := NewStepper(e.Model, e.Device, StepShape{1, length, max(1, pictures)}, adamless)
	e.steppers[length] = made
	return made, err
}

// judge compares one turn's likeliest tokens with the true ones.
func (e *evaluator) judge(ctx context.Context, s *evalSample, turn chat.Turn, truth, best []int32, nll []float32) error {
	a := EvalAnswer{File: s.File, Row: s.Index, Question: turn.User, Truth: turn.Assistant}
	for _, v := range nll {
		a.NLL += float64(v)
	}
	parted := 0
	for parted < len(truth) && best[parted] == truth[parted] {
		parted++
	}
	switch {
	case parted == len(truth):
		a.Match, a.Answer = true, strings.TrimSpace(turn.Assistant)
	default:
		var settled bool
		if a.Answer, settled = e.settle(turn, append(slices.Clone(truth[:parted]), best[parted])); !settled {
			answer, err := e.ask(ctx, s, turn, len(truth))
			if err != nil {
				return err
			}
			a.Answer = answer
		}
		a.Match = a.Answer == strings.TrimSpace(turn.Assistant)
	}
	e.result.Turns++
	e.result.Tokens += len(truth)
	e.nll += a.NLL
	if a.Match {
		e.matches++
	}
	if math.IsNaN(a.NLL) {
		return fmt.Errorf("%s: row %d: the model's output is not a number", s.File, s.Index)
	}
	if e.Answer != nil {
		e.Answer(a)
	}
	return nil
}

// settle says whether tokens that part from the true answer in their last one
// already decide that the answer differs, or ends.
func (e *evaluator) settle(turn chat.Turn, ids []int32) (answer string, settled bool) {
	last := len(ids) - 1
	if ids[last] == e.Language.EndOfTurn() {
		return strings.TrimSpace(e.Language.Tokenizer.Decode(ids[:last], true)), true
	}
	text := e.Language.Tokenizer.Decode(ids, true)
	answer = strings.TrimSpace(text)
	whole := !strings.Contains(text, "\uFFFD") // no letter is cut in two
	return answer, whole && !strings.HasPrefix(strings.TrimSpace(turn.Assistant), answer)
}

// ask generates the answer to one turn.
func (e *evaluator) ask(ctx context.Context, s *evalSample, turn chat.Turn, tokens int) (string, error) {
	prompt, err := e.Language.Prompt(chat.Conversation{Turns: []chat.Turn{turn}, Images: len(s.pictures)}, nil)
	if err != nil {
		return "", err
	}
	got, err := e.generator.Generate(ctx, prompt, s.pictures, GenerateOptions{MaxNewTokens: 2*tokens + 16})
	text := strings.TrimSpace(e.Language.Tokenizer.Decode(got.IDs, true))
	if got.Finish != "stop" { // an answer that does not end is none
		text += "…"
	}
	return text, err
}
