package eval

import (
	"context"
	"regexp"
	"slices"
	"strings"

	"patchwork/vlm/chat"
)

// Choices returns the answers to choose from, with the true one among them in the same words; nil
// if there are none.
type Choices func(question, truth string) []string

// FixedChoices returns the same choices for every question whose true answer is one of them.
func FixedChoices(choices []string) Choices {
	return func(_, truth string) []string {
		if !slices.Contains(choices, strings.TrimSpace(truth)) {
			return nil
		}
		return choices
	}
}

var lettered = regexp.MustCompile(`(?m)(?:^|[ \t])\(?([A-Z])[).:][ \t]*(\S[^\n]*?)[ \t]*$`)

// LetteredChoices returns the choices in lines such as "A. cat", "B) dog" or "(C) cow" of the
// question, in the form of the true answer: as letters, as words, or as whole lines.
func LetteredChoices(question, truth string) []string {
	truth = strings.TrimSpace(truth)
	var letters, words, lines []string
	for _, m := range lettered.FindAllStringSubmatch(question, -1) {
		if m[1] != string(rune('A'+len(letters))) {
			return nil // not a list from A on
		}
		letters, words, lines = append(letters, m[1]), append(words, m[2]), append(lines, strings.TrimSpace(m[0]))
	}
	if len(letters) < 2 {
		return nil
	}
	for _, form := range [][]string{letters, words, lines} {
		if slices.Contains(form, truth) {
			return form
		}
	}
	return nil
}

// ChoiceResult is the outcome of choosing by log-likelihood.
type ChoiceResult struct {
	Turns    int     `json:"choice_turns"`              // turns with choices
	Accuracy float64 `json:"choice_accuracy"`           // by the likelihood of the answer with its end of turn
	PerToken float64 `json:"choice_accuracy_per_token"` // by that likelihood per token
	Chance   float64 `json:"choice_chance"`             // of random choices
}

type choiceCount struct {
	turns, right, rightPerToken int
	chance                      float64
}

func (c *choiceCount) result() *ChoiceResult {
	if c.turns == 0 {
		return nil
	}
	n := float64(c.turns)
	return &ChoiceResult{c.turns, float64(c.right) / n, float64(c.rightPerToken) / n, c.chance / n}
}

// choose returns the chosen answer of every turn by likelihood; nil for turns without choices.
func (e *evaluator) choose(ctx context.Context, s *sample, turns []chat.Turn) ([]*string, error) {
	if e.Choices == nil {
		return nil, nil
	}
	chosen := make([]*string, len(turns))
	var asked []chat.Turn // each question with each choice
	var choices [][]string
	for _, t := range turns {
		options := e.Choices(t.User, t.Assistant)
		choices = append(choices, options)
		for _, choice := range options {
			asked = append(asked, chat.Turn{User: t.User, Assistant: choice})
		}
	}
	if len(asked) == 0 {
		return chosen, nil
	}
	all, err := e.score(ctx, s.files, asked)
	if err != nil {
		return nil, err
	}
	for i, options := range choices {
		if len(options) == 0 {
			continue
		}
		best, perToken := pick(all[:len(options)])
		all = all[len(options):]
		chosen[i] = &options[best]
		truth := strings.TrimSpace(turns[i].Assistant)
		e.choices.turns++
		e.choices.chance += 1 / float64(len(options))
		e.choices.right += toInt(options[best] == truth)
		e.choices.rightPerToken += toInt(options[perToken] == truth)
	}
	return chosen, nil
}

// pick returns the most likely answer, in total and per token.
func pick(answers []turnScore) (best, perToken int) {
	for i, a := range answers {
		if a.sum() < answers[best].sum() {
			best = i
		}
		if a.sum()/float64(len(a.nll)) < answers[perToken].sum()/float64(len(answers[perToken].nll)) {
			perToken = i
		}
	}
	return best, perToken
}

func toInt(b bool) int {
	if b {
		return 1
	}
	return 0
}
