package eval

import (
	"context"
	"regexp"
	"slices"
	"strings"

	"patchwork/vlm/chat"
)

// Choices names the answers among which a question has to choose, the true one
// in the same words; nil where it names none or not the true one.
type Choices func(question, truth string) []string

// FixedChoices are the same for every question whose true answer is one of them.
func FixedChoices(choices []string) Choices {
	return func(_, truth string) []string {
		if !slices.Contains(choices, strings.TrimSpace(truth)) {
			return nil
		}
		return choices
	}
}

var lettered = regexp.MustCompile(`(?m)(?:^|[ \t])\(?([A-Z])[).:][ \t]*(\S[^\n]*?)[ \t]*$`)

// LetteredChoices are the lines "A. cat", "B) dog" or "(C) cow" of the question
// itself. They are offered as the true answer is written: as letters, as words,
// or as whole lines.
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
	Turns    int     `json:"choice_turns"`              // with choices, the true answer among them
	Accuracy float64 `json:"choice_accuracy"`           // by the answer's likelihood with its end of turn
	PerToken float64 `json:"choice_accuracy_per_token"` // by the same, divided by its tokens
	Chance   float64 `json:"choice_chance"`             // of guessing
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

// choose lets every turn choose, and returns what they chose; nil for a turn that
// has no choices.
func (e *evaluator) choose(ctx context.Context, s *sample, turns []chat.Turn) ([]*string, error) {
	if e.Choices == nil {
		return nil, nil
	}
	chosen := make([]*string, len(turns))
	var asked []chat.Turn // every question with every choice
	var offers [][]string
	for _, t := range turns {
		offer := e.Choices(t.User, t.Assistant)
		offers = append(offers, offer)
		for _, choice := range offer {
			asked = append(asked, chat.Turn{User: t.User, Assistant: choice})
		}
	}
	if len(asked) == 0 {
		return chosen, nil
	}
	all, err := e.score(ctx, s.pictures, asked)
	if err != nil {
		return nil, err
	}
	for i, offer := range offers {
		if len(offer) == 0 {
			continue
		}
		likeliest, perToken := pick(all[:len(offer)])
		all = all[len(offer):]
		chosen[i] = &offer[likeliest]
		truth := strings.TrimSpace(turns[i].Assistant)
		e.choices.turns++
		e.choices.chance += 1 / float64(len(offer))
		e.choices.right += one(offer[likeliest] == truth)
		e.choices.rightPerToken += one(offer[perToken] == truth)
	}
	return chosen, nil
}

// pick returns the likeliest of some answers, in all and by the token.
func pick(answers []scored) (likeliest, perToken int) {
	for i, a := range answers {
		if a.sum() < answers[likeliest].sum() {
			likeliest = i
		}
		if a.sum()/float64(len(a.nll)) < answers[perToken].sum()/float64(len(answers[perToken].nll)) {
			perToken = i
		}
	}
	return likeliest, perToken
}

func one(b bool) int {
	if b {
		return 1
	}
	return 0
}
