package shapes

import (
	"fmt"
	"math/rand/v2"

	"patchwork/vlm/data"
)

// The phrasings of each family of questions.
var (
	askColour   = []string{"what color is the %s?", "what is the color of the %s?"}
	askKind     = []string{"what shape is %s?", "what is the %s shape?"}
	askPresence = []string{"is there a %s?", "is a %s present?", "is there a %s in the image?"}
	askNumber   = []string{"how many shapes are there?", "how many shapes are in the image?"}

	numbers = []string{"", "one", "two"}
)

// questions are all questions about a scene, in random order.
func (s scene) questions(rng *rand.Rand) []data.Turn {
	var turns []data.Turn
	ask := func(phrasings []string, answer, word string) {
		question := phrasings[rng.IntN(len(phrasings))]
		if word != "" {
			question = fmt.Sprintf(question, word)
		}
		turns = append(turns, data.Turn{User: question, Assistant: answer})
	}
	for _, sh := range s.shapes {
		ask(askColour, sh.paint, sh.kind)
		ask(askKind, sh.kind, sh.paint)
	}
	kind, answer := s.presence(rng, kinds, func(sh shape) string { return sh.kind })
	ask(askPresence, answer, kind)
	colour, answer := s.presence(rng, paintNames(), func(sh shape) string { return sh.paint })
	ask(askPresence, answer, colour+" shape")
	ask(askNumber, numbers[len(s.shapes)], "")
	rng.Shuffle(len(turns), func(i, j int) { turns[i], turns[j] = turns[j], turns[i] })
	return turns
}

// presence picks a value, with probability 1/2 that of a shape of the scene, and the answer
// whether it is.
func (s scene) presence(rng *rand.Rand, values []string, of func(shape) string) (value, answer string) {
	if rng.IntN(2) == 0 {
		return of(s.shapes[rng.IntN(len(s.shapes))]), "yes"
	}
	for {
		value = values[rng.IntN(len(values))]
		if !s.has(value, of) {
			return value, "no"
		}
	}
}

func (s scene) has(value string, of func(shape) string) bool {
	for _, sh := range s.shapes {
		if of(sh) == value {
			return true
		}
	}
	return false
}

func paintNames() (names []string) {
	for _, p := range paints {
		names = append(names, p.name)
	}
	return names
}
