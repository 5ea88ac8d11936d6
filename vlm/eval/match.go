package eval

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"
	"strings"

	"patchwork/vlm/chat"
	"patchwork/vlm/generate"
)

// turns scores all turns of a sample.
func (e *evaluator) turns(ctx context.Context, s *sample) error {
	var turns []chat.Turn
	for _, t := range s.Answered() {
		turns = append(turns, chat.Turn{User: t.User, Assistant: t.Assistant})
	}
	all, err := e.score(ctx, s.pictures, turns)
	if err != nil {
		return err
	}
	chosen, err := e.choose(ctx, s, turns)
	if err != nil {
		return err
	}
	for i, turn := range turns {
		a, err := e.match(ctx, s, turn, all[i])
		if err != nil {
			return err
		}
		if chosen != nil {
			a.Choice = chosen[i]
		}
		e.reportAnswer(a)
	}
	return nil
}

// reportAnswer counts a turn's outcome and passes it on. Captions are held back until
// the whole corpus is known, against which they are scored.
func (e *evaluator) reportAnswer(a TurnResult) {
	e.result.Turns++
	e.result.Tokens += a.Tokens
	e.nll += a.NLL
	if a.Match {
		e.matches++
	}
	if e.Captions {
		e.captions.answers = append(e.captions.answers, a)
	} else if e.Answer != nil {
		e.Answer(a)
	}
}

// match compares one turn's likeliest tokens with the true ones.
func (e *evaluator) match(ctx context.Context, s *sample, turn chat.Turn, got scored) (TurnResult, error) {
	truth, best := got.truth, got.best
	a := TurnResult{File: s.File, Row: s.Index, Control: e.Control, Question: turn.User, Truth: turn.Assistant, NLL: got.sum(), Tokens: len(truth)}
	if math.IsNaN(a.NLL) {
		return a, fmt.Errorf("%s: row %d: the model's output is not a number", s.File, s.Index)
	}
	parted := 0
	for parted < len(truth) && best[parted] == truth[parted] {
		parted++
	}
	if parted == len(truth) && parted > 0 && e.Processor.Ends(truth[parted-1]) {
		a.Match, a.Answer = true, strings.TrimSpace(turn.Assistant)
		return a, nil
	}
	settled := false
	if !e.Captions && parted < len(truth) {
		a.Answer, settled = e.decide(turn, append(slices.Clone(truth[:parted]), best[parted]))
	}
	if !settled {
		most := 2*len(truth) + 16
		if e.Captions {
			most = cmp.Or(e.MaxNewTokens, 128)
		}
		answer, err := e.ask(ctx, s, turn, most)
		if err != nil {
			return a, err
		}
		a.Answer = answer
	}
	a.Match = a.Answer == strings.TrimSpace(turn.Assistant)
	return a, nil
}

// decide says whether tokens that part from the true answer in their last one
// already decide that the answer differs, or ends.
func (e *evaluator) decide(turn chat.Turn, ids []int32) (answer string, settled bool) {
	last := len(ids) - 1
	if e.Processor.Ends(ids[last]) {
		return strings.TrimSpace(e.Processor.Tokenizer.Decode(ids[:last], true)), true
	}
	text := e.Processor.Tokenizer.Decode(ids, true)
	answer = strings.TrimSpace(text)
	whole := !strings.Contains(text, "\uFFFD") // no letter is cut in two
	return answer, whole && !strings.HasPrefix(strings.TrimSpace(turn.Assistant), answer)
}

// ask generates the answer to one turn.
func (e *evaluator) ask(ctx context.Context, s *sample, turn chat.Turn, most int) (string, error) {
	prompt, err := e.Processor.Prompt(chat.Conversation{Turns: []chat.Turn{turn}, Images: len(s.pictures)}, new(bool))
	if err != nil {
		return "", err
	}
	got, err := e.generator.Generate(ctx, prompt, s.pictures, generate.Options{MaxNewTokens: most})
	text := strings.TrimSpace(e.Processor.Tokenizer.Decode(got.IDs, true))
	if got.Finish != "stop" { // an answer that does not end is none
		text += "…"
	}
	return text, err
}
