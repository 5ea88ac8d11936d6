package generate

import (
	"context"
	"errors"
	"math"
	"slices"

	"patchwork/nn"
	"patchwork/shaders"
	"patchwork/vlm"
	"patchwork/vlm/chat"
	"patchwork/vlm/packing"
)

// Explanation is the attention of a model on the image and the text while it predicted an answer.
// Attention weights do not show what the answer depends on (docs/how-it-works.md).
type Explanation struct {
	Words         []ExplainedWord
	Omitted       int         // number of further words that are not explained
	Grids         []chat.Grid // of each image
	Layers, Heads int
}

// ExplainedWord is the attention of one word of the answer.
type ExplainedWord struct {
	Text   string
	Mean   AttentionMap   // mean over the layers
	Layers []AttentionMap // by layer
}

// AttentionMap is the attention from which a word was predicted: the weights of the token before
// each of the word's tokens, averaged over those tokens and a layer's heads. All values sum to 1.
type AttentionMap struct {
	Patches []float64 // of all images, one after another, each row-major
	Prompt  float64   // on the other tokens of the prompt
	Answer  float64   // on the answer so far
}

// ImageShare is the sum over the patches.
func (m AttentionMap) ImageShare() float64 {
	sum := 0.0
	for _, p := range m.Patches {
		sum += p
	}
	return sum
}

// ErrNoWords reports an answer without words.
var ErrNoWords = errors.New("the answer has no words to explain")

// Explain computes the attention of the first words, at most maxWords, of an answer to a prompt
// with images, as Generate takes them. The answer may have been generated in any way.
func Explain(ctx context.Context, runner *vlm.Runner, prompt chat.Tokens, images [][]byte, answer []int32, maxWords int) (Explanation, error) {
	out := Explanation{Layers: runner.Config.Text.NumHiddenLayers, Heads: runner.Config.Text.NumAttentionHeads}
	if len(images) == 0 || len(images) != len(prompt.Images) {
		return out, errors.New("the prompt has no image to explain")
	}
	if out.Grids = prompt.Grids; out.Grids == nil {
		out.Grids = slices.Repeat([]chat.Grid{runner.Config.Vision.SquareGrid()}, len(images))
	}
	words := splitWords(runner.Processor.Tokenizer, answer)
	if len(words) == 0 {
		return out, ErrNoWords
	}
	out.Omitted = max(0, len(words)-maxWords)
	words = words[:len(words)-out.Omitted]
	var queries []int32
	for _, w := range words {
		for _, t := range w.tokens {
			queries = append(queries, int32(len(prompt.IDs)+t-1))
		}
	}
	layers, err := attentionShares(ctx, runner, prompt, images, answer, queries)
	if err != nil {
		return out, err
	}
	at := 0
	for _, w := range words {
		word := ExplainedWord{Text: w.text}
		for _, layer := range layers {
			word.Layers = append(word.Layers, meanOfShares(layer[at:][:len(w.tokens)]))
		}
		word.Mean = MeanAttention(word.Layers)
		if sum := word.Mean.ImageShare() + word.Mean.Prompt + word.Mean.Answer; math.IsNaN(sum) || math.IsInf(sum, 0) {
			return out, errors.New("the attention is not finite: the model's weights have NaN, infinite or too large values")
		}
		out.Words = append(out.Words, word)
		at += len(w.tokens)
	}
	return out, nil
}

// attentionShares runs the prompt and the answer through the model and returns the attention of
// the queries, [layer][query][group]: a group for each patch, one for the text of the prompt and
// one for the answer.
func attentionShares(ctx context.Context, runner *vlm.Runner, prompt chat.Tokens, images [][]byte, answer, queries []int32) ([][][]float32, error) {
	n := int(queries[len(queries)-1]) + 1 // later tokens are not needed
	ids := append(prompt.IDs[:len(prompt.IDs):len(prompt.IDs)], answer...)[:n]
	b, err := packing.Build(packing.Shape{Rows: 1, T: n, Patches: runner.Config.Vision.Patches()},
		packing.Modes{Attention: runner.Config.Attention, Turns: packing.InConversation, Loss: packing.OnAll},
		[][]*packing.Sample{{{IDs: ids, LossMask: make([]bool, n), Images: prompt.Images, Grids: prompt.Grids}}})
	if err != nil {
		return nil, err
	}
	var pixels []byte
	for _, p := range images {
		pixels = append(pixels, p...)
	}
	patches := 0
	for _, slot := range b.ImageSlots {
		patches = max(patches, int(slot)+1)
	}
	group := make([]int, n)
	for t, slot := range b.ImageSlots {
		switch {
		case slot >= 0:
			group[t] = int(slot)
		case t < len(prompt.IDs):
			group[t] = patches
		default:
			group[t] = patches + 1
		}
	}
	return probe(ctx, runner, b, pixels, queries, group, patches+2)
}

// probe runs a batch with an AttentionProbe and returns its result.
func probe(ctx context.Context, runner *vlm.Runner, b *packing.Batch, pixels []byte, queries []int32, group []int, groups int) ([][][]float32, error) {
	in := runner.NewInputs(b.Rows, b.T, len(b.Images), b.T)
	p, err := vlm.NewAttentionProbe(runner, queries, b, group, groups)
	if err != nil {
		return nil, err
	}
	defer p.Close()
	program, err := nn.Record("explain", nn.Options{Params: runner.Params, Type: runner.Storage()}, func(g *nn.Graph) {
		runner.HiddenObserved(g, in, nil, p.Observe)
	})
	if err != nil {
		return nil, err
	}
	plan, err := runner.Plan(program)
	if err != nil {
		return nil, err
	}
	if err := in.Allocate(runner.Device); err != nil {
		return nil, err
	}
	defer in.Close()
	exe, err := runner.Device.Compile(plan, nil)
	if err != nil {
		return nil, err
	}
	defer exe.Free()
	var step [shaders.StepWords]uint32
	if _, err := in.Upload(runner.Device, b, pixels, &step); err != nil {
		return nil, err
	}
	if err := exe.Run(ctx, &step); err != nil {
		return nil, err
	}
	return p.Read(ctx, runner.Device, exe)
}

// meanOfShares is the mean of attention by group: patches, the rest of the prompt, the answer.
func meanOfShares(shares [][]float32) AttentionMap {
	maps := make([]AttentionMap, len(shares))
	for i, s := range shares {
		n := len(s) - 2
		maps[i] = AttentionMap{Patches: make([]float64, n), Prompt: float64(s[n]), Answer: float64(s[n+1])}
		for j := range n {
			maps[i].Patches[j] = float64(s[j])
		}
	}
	return MeanAttention(maps)
}

// MeanAttention returns the mean of attention maps of the same images.
func MeanAttention(maps []AttentionMap) AttentionMap {
	mean, weight := AttentionMap{Patches: make([]float64, len(maps[0].Patches))}, 1/float64(len(maps))
	for _, m := range maps {
		mean.Prompt += weight * m.Prompt
		mean.Answer += weight * m.Answer
		for i, p := range m.Patches {
			mean.Patches[i] += weight * p
		}
	}
	return mean
}
