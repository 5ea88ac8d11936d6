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

// evaluateTurns scores all turns of a sample.
func (e *evaluator) evaluateTurns(ctx context.Context, s *sample) error {
	var turns []chat.Turn
	for _, t := range s.Answered() {
		turns = append(turns, chat.Turn{User: t.User, Assistant: t.Assistant})
	}
	all, err := e.score(ctx, s.files, turns)
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

// reportAnswer counts the result of a turn and passes it on. Captions are kept until the whole
// corpus is known, against which they are scored.
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

// match compares the argmax tokens of a turn with the true ones.
func (e *evaluator) match(ctx context.Context, s *sample, turn chat.Turn, got turnScore) (TurnResult, error) {
	truth, argmax := got.truth, got.argmax
	a := TurnResult{File: s.File, Row: s.Index, Control: e.Control, Question: turn.User, Truth: turn.Assistant, NLL: got.sum(), Tokens: len(truth)}
	if math.IsNaN(a.NLL) {
		return a, fmt.Errorf("%s: row %d: the model's output is not a number", s.File, s.Index)
	}
	firstDiff := 0
	for firstDiff < len(truth) && argmax[firstDiff] == truth[firstDiff] {
		firstDiff++
	}
	if firstDiff == len(truth) && firstDiff > 0 && e.Processor.IsEOS(truth[firstDiff-1]) {
		a.Match, a.Answer = true, strings.TrimSpace(turn.Assistant)
		return a, nil
	}
	decided := false
	if !e.Captions && firstDiff < len(truth) {
		a.Answer, decided = e.isDecided(turn, append(slices.Clone(truth[:firstDiff]), argmax[firstDiff]))
	}
	if !decided {
		maxTokens := 2*len(truth) + 16
		if e.Captions {
			maxTokens = cmp.Or(e.MaxNewTokens, 128)
		}
		answer, err := e.generateAnswer(ctx, s, turn, maxTokens)
		if err != nil {
			return a, err
		}
		a.Answer = answer
	}
	a.Match = a.Answer == strings.TrimSpace(turn.Assistant)
	return a, nil
}

// isDecided reports whether tokens whose last one differs from the true answer already prove that
// the answer differs or has ended.
func (e *evaluator) isDecided(turn chat.Turn, ids []int32) (answer string, decided bool) {
	last := len(ids) - 1
	if e.Processor.IsEOS(ids[last]) {
		return strings.TrimSpace(e.Processor.Tokenizer.Decode(ids[:last], true)), true
	}
	text := e.Processor.Tokenizer.Decode(ids, true)
	answer = strings.TrimSpace(text)
	complete := !strings.Contains(text, "\uFFFD") // the last letter is complete
	return answer, complete && !strings.HasPrefix(strings.TrimSpace(turn.Assistant), answer)
}

// generateAnswer generates the answer of a turn.
func (e *evaluator) generateAnswer(ctx context.Context, s *sample, turn chat.Turn, maxTokens int) (string, error) {
	prompt, err := e.Processor.Prompt(e.conversation(s.files, []chat.Turn{turn}), new(bool))
	if err != nil {
		return "", err
	}
	got, err := e.generator.Generate(ctx, prompt, s.files.Images, generate.Options{MaxNewTokens: maxTokens, Clips: s.files.Clips})
	text := strings.TrimSpace(e.Processor.Tokenizer.Decode(got.IDs, true))
	if got.Finish != "stop" { // an incomplete answer never matches
		text += "…"
	}
	return text, err
}
