package main

import (
	"fmt"
	"math/rand/v2"

	"patchwork/vlm/data"
)

// The phrasings of each family of questions.
var (
	askColour   = []string{"what color is the %s?", "what is the color of the %s?"}
	askShape    = []string{"what shape is %s?", "what is the %s shape?"}
	askPresence = []string{"is there a %s %s?", "is a %s %s present?", "is there a %s %s in the image?"}
	askNumber   = []string{"how many shapes are there?", "how many shapes are in the image?"}
	askSide     = []string{"what shape is on the %s?", "what is on the %s?"}
	askSideFill = []string{"what color is on the %s?", "what color is the shape on the %s?"}

	numbers = []string{"", "one", "two"}
)

// questions asks about everything there is to see, in random order.
func (s scene) questions(rng *rand.Rand) []data.Turn {
	var turns []data.Turn
	ask := func(phrasings []string, answer string, words ...any) {
		turns = append(turns, data.Turn{User: fmt.Sprintf(phrasings[rng.IntN(len(phrasings))], words...), Assistant: answer})
	}
	for _, sh := range s.shapes {
		ask(askColour, sh.paint, sh.kind)
		ask(askShape, sh.kind, sh.paint)
	}
	there := s.shapes[rng.IntN(len(s.shapes))]
	ask(askPresence, "yes", there.paint, there.kind)
	colour, kind := s.absent(rng)
	ask(askPresence, "no", colour, kind)
	ask(askNumber, numbers[len(s.shapes)])
	if len(s.shapes) == 2 {
		for i, where := range []string{"left", "right"} {
			if rng.IntN(2) == 0 {
				ask(askSide, s.shapes[i].kind, where)
			} else {
				ask(askSideFill, s.shapes[i].paint, where)
			}
		}
	}
	rng.Shuffle(len(turns), func(i, j int) { turns[i], turns[j] = turns[j], turns[i] })
	return turns
}

// absent is a coloured shape that is not in the scene though half of it usually
// is: its colour belongs to another shape, or its shape has another colour.
func (s scene) absent(rng *rand.Rand) (colour, kind string) {
	there := s.shapes[rng.IntN(len(s.shapes))]
	for {
		colour, kind = there.paint, there.kind
		if rng.IntN(2) == 0 {
			colour = paints[rng.IntN(len(paints))].name
		} else {
			kind = kinds[rng.IntN(len(kinds))]
		}
		if !s.has(colour, kind) {
			return colour, kind
		}
	}
}

func (s scene) has(colour, kind string) bool {
	for _, sh := range s.shapes {
		if sh.paint == colour && sh.kind == kind {
			return true
		}
	}
	return false
}
