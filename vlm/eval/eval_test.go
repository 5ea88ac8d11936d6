package eval

import (
	"math"
	"slices"
	"strings"
	"testing"

	"patchwork/engine/cpu"
	"patchwork/internal/require"
	"patchwork/vlm"
	"patchwork/vlm/chat"
	"patchwork/vlm/data"
	"patchwork/vlm/generate"
	"patchwork/vlm/internal/vlmtest"
	"patchwork/vlm/packing"
	"patchwork/vlm/score"
)

func TestLetteredChoices(t *testing.T) {
	question := "What is shown?\nA. a cat\nB. a dog\nC. a cow\nAnswer with the letter."
	for _, c := range []struct {
		name, question, truth string
		want                  []string
	}{
		{"letters", question, "B", []string{"A", "B", "C"}},
		{"words", question, " a dog ", []string{"a cat", "a dog", "a cow"}},
		{"lines", question, "B. a dog", []string{"A. a cat", "B. a dog", "C. a cow"}},
		{"brackets", "Which?\n(A) one\n(B) two", "A", []string{"A", "B"}},
		{"an answer that is not listed", question, "a horse", nil},
		{"no list", "Is it A or B?", "A", nil},
		{"one letter", "A. alone", "A", nil},
		{"not from A on", "B. two\nC. three", "B", nil},
		{"a letter missing", "A. one\nC. three", "A", nil},
	} {
		if got := LetteredChoices(c.question, c.truth); !slices.Equal(got, c.want) {
			t.Errorf("%s: got %q, want %q", c.name, got, c.want)
		}
	}
}

// TestChoices: every choice has the likelihood of the turn with it as the answer, scored on its
// own.
func TestChoices(t *testing.T) {
	dev := cpu.Open(0)
	defer dev.Close()
	l := vlmtest.Model(t, dev, packing.Document)
	file := vlmtest.Data(t, 6)
	choices := []string{"red", "green", "blue", "yes", "no"}
	e := &evaluator{Runner: l, generator: generate.New(l), scorers: map[int]*scorer{}}
	defer e.close()
	img := data.Prepared{Images: [][]byte{slices.Repeat([]byte{200, 10, 30}, 64*64)}}
	all, err := e.score(t.Context(), img, turnsFor("what color is the shape?", choices))
	require.NoError(t, err)
	best, lowest := "", math.Inf(1)
	for i, choice := range choices {
		alone, err := e.score(t.Context(), img, turnsFor("what color is the shape?", []string{choice}))
		require.NoError(t, err)
		if got, want := all[i].sum(), alone[0].sum(); math.Abs(got-want) > 1e-4 {
			t.Errorf("%s: NLL %v among the choices, %v alone", choice, got, want)
		}
		if alone[0].sum() < lowest {
			best, lowest = choice, alone[0].sum()
		}
	}
	if got, _ := pick(all); choices[got] != best {
		t.Errorf("picked %s, want %s", choices[got], best)
	}
	chosen := map[string]int{}
	r, err := Run(t.Context(), l, Options{Data: data.Local(file), Choices: FixedChoices(choices), Answer: func(a TurnResult) {
		if a.Choice == nil {
			t.Fatalf("%q has no choice", a.Question)
		}
		chosen[*a.Choice]++
	}})
	require.NoError(t, err)
	if r.ChoiceResult == nil || r.ChoiceResult.Turns != 18 || math.Abs(r.Chance-0.2) > 1e-12 {
		t.Errorf("%+v", r.ChoiceResult)
	}
	if r, err := Run(t.Context(), l, Options{Data: data.Local(file), Choices: LetteredChoices}); err != nil || r.ChoiceResult != nil {
		t.Errorf("questions without options: %+v, %v", r.ChoiceResult, err)
	}
}

func turnsFor(question string, answers []string) (turns []chat.Turn) {
	for _, a := range answers {
		turns = append(turns, chat.Turn{User: question, Assistant: a})
	}
	return turns
}

// TestCaptions: the scores are those of the generated answers; NLL and exact match are the same as
// without captions.
func TestCaptions(t *testing.T) {
	dev := cpu.Open(0)
	defer dev.Close()
	l := vlmtest.Model(t, dev, packing.Document)
	file := vlmtest.Data(t, 4)
	plain, err := Run(t.Context(), l, Options{Data: data.Local(file)})
	require.NoError(t, err)
	var corpus []score.Caption
	var each []float64
	r, err := Run(t.Context(), l, Options{Data: data.Local(file), Captions: true, MaxNewTokens: 12, Answer: func(a TurnResult) {
		corpus = append(corpus, score.Caption{Candidate: score.Words(a.Answer), References: [][]string{score.Words(a.Truth)}})
		each = append(each, a.CIDErD)
	}})
	require.NoError(t, err)
	mean, want := score.CIDErD(corpus)
	if r.CaptionResult == nil || r.BLEU4 != score.BLEU(corpus) || r.CIDErD != mean || !slices.Equal(each, want) {
		t.Errorf("%+v, want CIDEr-D %v", r.CaptionResult, mean)
	}
	if len(corpus) != r.Turns || r.NLLPerToken != plain.NLLPerToken || r.ExactMatch != plain.ExactMatch || r.Perplexity != math.Exp(r.NLLPerToken) {
		t.Errorf("with captions %+v, without %+v", r, plain)
	}
}

// TestEvaluateHeldOut: only the rows that training holds out are evaluated.
func TestEvaluateHeldOut(t *testing.T) {
	dev := cpu.Open(0)
	defer dev.Close()
	var rows []int
	_, err := Run(t.Context(), vlmtest.Model(t, dev, packing.Document), Options{Data: data.Local(vlmtest.Data(t, 12)), HoldOut: 5, Answer: func(a TurnResult) {
		if !slices.Contains(rows, a.Row) {
			rows = append(rows, a.Row)
		}
	}})
	require.NoError(t, err)
	if want := []int{4, 9}; !slices.Equal(rows, want) {
		t.Errorf("rows %v, want %v", rows, want)
	}
}

// TestEvaluateText: a text's NLL matches its logits, and a long text is scored in windows.
func TestEvaluateText(t *testing.T) {
	dev := cpu.Open(0)
	defer dev.Close()
	l := vlmtest.Model(t, dev, packing.Document)
	const text = "what color is the shape? <|im_end|> red"
	ids := vlmtest.PlainIDs(l.Processor.Tokenizer, text)
	n := len(ids)
	y := vlmtest.Logits(t, l, &packing.Sample{IDs: ids, LossMask: make([]bool, n)}, packing.InConversation, nil)
	v := len(y) / n
	var want float64
	for i := range n - 1 {
		row := y[i*v : (i+1)*v]
		var sum float64
		for _, x := range row {
			sum += math.Exp(float64(x))
		}
		want += (math.Log(sum) - float64(row[ids[i+1]])) / float64(n-1)
	}
	got, err := RunText(t.Context(), l, text, vlm.BOSAuto)
	require.NoError(t, err)
	if math.Abs(got.NLLPerToken-want) > 1e-5 || got.Tokens != n-1 || got.Windows != 1 {
		t.Errorf("%+v, want %v over %d tokens", got, want, n-1)
	}
	long := strings.Repeat(text+" ", 200)
	n = len(vlmtest.PlainIDs(l.Processor.Tokenizer, long))
	window := min(maxTextWindow, l.Config.Text.MaxPositionEmbeddings)
	windows := (n + window - 1) / window
	if got, err = RunText(t.Context(), l, long, vlm.BOSAuto); err != nil || got.Windows != windows || got.Tokens != n-windows || windows < 2 {
		t.Errorf("%d tokens: %+v, %v", n, got, err)
	}
	if _, err := RunText(t.Context(), l, "", vlm.BOSAuto); err == nil {
		t.Error("an empty text was scored")
	}
}
