package generate

import (
	"context"
	"errors"
	"math"

	"patchwork/nn"
	"patchwork/shaders"
	"patchwork/vlm"
	"patchwork/vlm/chat"
	"patchwork/vlm/packing"
)

// Explained is where a model looked as it said an answer: what Attention weighs, not
// what the answer depends on (docs/how-it-works.md).
type Explained struct {
	Words         []ExplainedWord
	Omitted       int // words behind those
	Pictures      int
	Grid          int // patches along a picture's side
	Layers, Heads int
}

// ExplainedWord is one word of the answer.
type ExplainedWord struct {
	Text   string
	Mean   AttentionMap   // the mean of Layers
	Layers []AttentionMap // from the first
}

// AttentionMap is how the attention from which a word was predicted is shared out. It is the
// mean over a layer's heads, and over the tokens of the word, of the weights of the
// token before each: that is the one whose vector predicts it. All of it sums to 1.
type AttentionMap struct {
	Patches []float64 // [Pictures·Grid²], in reading order
	Prompt  float64   // on the text around the pictures
	Answer  float64   // on the answer so far
}

// Image is the share that goes to the pictures.
func (l AttentionMap) Image() float64 {
	sum := 0.0
	for _, p := range l.Patches {
		sum += p
	}
	return sum
}

// ErrNothingSaid is an answer without a word to explain.
var ErrNoWords = errors.New("the answer has no word that could be explained")

// Explain finds where the model looked as it answered a prompt about pictures,
// [S,S,C] each, for the first words of the answer, at most so many. The answer may
// have been chosen in any way: it is the one given that is explained.
func Explain(ctx context.Context, l *vlm.Runner, prompt chat.Tokens, pictures [][]byte, answer []int32, most int) (Explained, error) {
	out := Explained{Pictures: len(pictures), Grid: l.Config.Vision.Grid(), Layers: l.Config.Text.NumHiddenLayers, Heads: l.Config.Text.NumAttentionHeads}
	if len(pictures) == 0 || len(pictures) != len(prompt.Images) {
		return out, errors.New("there is no picture in the prompt whose attention could be explained")
	}
	words := splitWords(l.Processor.Tokenizer, answer)
	if len(words) == 0 {
		return out, ErrNoWords
	}
	out.Omitted = max(0, len(words)-most)
	words = words[:len(words)-out.Omitted]
	var queries []int32
	for _, w := range words {
		for _, t := range w.tokens {
			queries = append(queries, int32(len(prompt.IDs)+t-1))
		}
	}
	layers, err := attentionShares(ctx, l, prompt, pictures, answer, queries)
	if err != nil {
		return out, err
	}
	at := 0
	for _, w := range words {
		word := ExplainedWord{Text: w.text}
		for _, layer := range layers {
			word.Layers = append(word.Layers, wordAttention(layer[at:][:len(w.tokens)]))
		}
		word.Mean = MeanAttention(word.Layers)
		if sum := word.Mean.Image() + word.Mean.Prompt + word.Mean.Answer; math.IsNaN(sum) || math.IsInf(sum, 0) {
			return out, errors.New("its attention is not finite: the model's weights hold what is not a number, or too large")
		}
		out.Words = append(out.Words, word)
		at += len(w.tokens)
	}
	return out, nil
}

// attentionShares runs prompt and answer through the model once and returns the
// queries' attention, [layer][query]: a share for each patch, for the prompt's text
// and for the answer.
func attentionShares(ctx context.Context, l *vlm.Runner, prompt chat.Tokens, pictures [][]byte, answer, queries []int32) ([][][]float32, error) {
	n := int(queries[len(queries)-1]) + 1 // what follows, nobody looks at
	ids := append(prompt.IDs[:len(prompt.IDs):len(prompt.IDs)], answer...)[:n]
	patches := l.Config.Vision.Patches()
	b, err := packing.Build(packing.Shape{Rows: 1, T: n, Patches: patches},
		packing.Modes{Attention: l.Config.Attention, Turns: packing.InConversation, Loss: packing.OnAll},
		[][]*packing.Sample{{{IDs: ids, LossMask: make([]bool, n), Images: prompt.Images}}})
	if err != nil {
		return nil, err
	}
	var pixels []byte
	for _, p := range pictures {
		pixels = append(pixels, p...)
	}
	group := make([]int, n)
	for t, slot := range b.ImageSlots {
		switch {
		case slot >= 0:
			group[t] = int(slot)
		case t < len(prompt.IDs):
			group[t] = patches * len(pictures)
		default:
			group[t] = patches*len(pictures) + 1
		}
	}
	return probe(ctx, l, b, pixels, queries, group, patches*len(pictures)+2)
}

// probe runs a batch and returns what attentionProbe reads.
func probe(ctx context.Context, l *vlm.Runner, b *packing.Batch, pixels []byte, queries []int32, group []int, groups int) ([][][]float32, error) {
	in := l.NewInputs(b.Rows, b.T, len(b.Images), b.T)
	p, err := vlm.NewAttentionProbe(l, queries, b.Intervals, group, groups)
	if err != nil {
		return nil, err
	}
	defer p.Close()
	program, err := nn.Record("explain", nn.Options{Params: l.Params, Type: l.Storage()}, func(g *nn.Graph) {
		l.HiddenObserved(g, in, nil, p.Observe)
	})
	if err != nil {
		return nil, err
	}
	plan, err := l.Plan(program)
	if err != nil {
		return nil, err
	}
	if err := in.Allocate(l.Device); err != nil {
		return nil, err
	}
	defer in.Close()
	exe, err := l.Device.Compile(plan, nil)
	if err != nil {
		return nil, err
	}
	defer exe.Free()
	var step [shaders.StepWords]uint32
	if _, err := in.Upload(l.Device, b, pixels, &step); err != nil {
		return nil, err
	}
	if err := exe.Run(ctx, &step); err != nil {
		return nil, err
	}
	return p.Read(ctx, l.Device, exe)
}

// wordAttention averages the shares of a word's tokens.
func wordAttention(shares [][]float32) AttentionMap {
	looks := make([]AttentionMap, len(shares))
	for i, s := range shares {
		n := len(s) - 2
		looks[i] = AttentionMap{Patches: make([]float64, n), Prompt: float64(s[n]), Answer: float64(s[n+1])}
		for j := range n {
			looks[i].Patches[j] = float64(s[j])
		}
	}
	return MeanAttention(looks)
}

// MeanAttention is the mean of looks at the same pictures.
func MeanAttention(looks []AttentionMap) AttentionMap {
	mean, part := AttentionMap{Patches: make([]float64, len(looks[0].Patches))}, 1/float64(len(looks))
	for _, l := range looks {
		mean.Prompt += part * l.Prompt
		mean.Answer += part * l.Answer
		for i, p := range l.Patches {
			mean.Patches[i] += part * p
		}
	}
	return mean
}
