// Package generate generates text with a model: prefill with a key/value cache, decoding, sampling,
// and attention maps of an answer.
package generate

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"patchwork/engine"
	"patchwork/vlm"
	"patchwork/vlm/chat"
)

// Generator generates text. The key/value cache keeps the tokens of the previous sequence, images
// included, and only those after the common prefix are computed again. Programs are compiled once.
type Generator struct {
	*vlm.Runner

	cache    *vlm.Cache
	rope     []*engine.Buffer // RoPE tables by kind of attention, a row for each cache position
	memories []engine.Memory
	cached   sequence // the sequence in the cache
	passes   map[int]*pass
	vectors  *vlm.Vectors       // of images and sound; nil until there is either
	embedder *vlm.ImageEmbedder // nil until the first image
	sound    *vlm.SoundEmbedder // nil until the first clip
}

// New returns a generator for a model on a device.
func New(runner *vlm.Runner) *Generator { return &Generator{Runner: runner, passes: map[int]*pass{}} }

// Options are the settings of Generate.
type Options struct {
	MaxNewTokens int
	Sampling     Sampling
	// Clips are the samples of each clip of the prompt, at the model's rate.
	Clips [][]float32
	// Bias is added to the logits of tokens.
	Bias map[int32]float32
	// Constraint, unless nil, limits the tokens of the answer.
	Constraint Constraint
	// LogProbs asks for the log-probabilities of tokens, and of the TopLogProbs most likely ones in
	// their place.
	LogProbs    bool
	TopLogProbs int
	// Token, unless nil, is called with every token when it is generated, including the last. If it
	// returns false, the answer ends with this token, and Finish is "stop".
	Token func(t Token) (more bool)
}

// Token is a generated token.
type Token struct {
	ID int32
	// LogProb is the natural logarithm of the model's probability, before Sampling, Bias and Constraint;
	// with Options.LogProbs. Top are the most likely tokens, in descending order.
	LogProb float64
	Top     []TokenLogProb
}

// TokenLogProb is a token with its log-probability.
type TokenLogProb struct {
	ID      int32
	LogProb float64
}

// Constraint limits the tokens of an answer, for example to those of a grammar.
type Constraint interface {
	// Mask sets the logits of the tokens that may not come next to -Inf. It reports whether any may.
	Mask(logits []float32) bool
	// Accept continues after a token.
	Accept(id int32)
}

// ErrNoToken reports a Constraint that no token of the vocabulary satisfies.
var ErrNoToken = errors.New("no token of the vocabulary continues the answer as its constraint demands")

// Result is a generated continuation.
type Result struct {
	IDs          []int32 // without the end token
	PromptTokens int
	CachedTokens int    // prompt tokens that were in the cache
	Finish       string // "stop" at an end token, "length" otherwise
	Prefill      time.Duration
	Decode       time.Duration
}

// ContextError reports a prompt that does not fit into the context.
type ContextError struct{ Prompt, New, Context int }

func (e *ContextError) Error() string {
	return fmt.Sprintf("the prompt has %d tokens and %d are to be generated, but the model's context is %d", e.Prompt, e.New, e.Context)
}

// NotFiniteError reports logits from which no token can be chosen: one is NaN, or the largest is
// infinite.
type NotFiniteError struct {
	Token int // number of tokens before them, prompt included
}

func (e *NotFiniteError) Error() string {
	return fmt.Sprintf("the model's output is not a number after token %d: its weights have NaN, infinite or too large values for the dtype", e.Token)
}

// Generate continues a prompt with images given as pixels, [S,S,C] each. If ctx is cancelled it
// returns the tokens so far with the context's error.
func (g *Generator) Generate(ctx context.Context, prompt chat.Tokens, images [][]byte, o Options) (Result, error) {
	out := Result{PromptTokens: len(prompt.IDs), Finish: "length"}
	total, limit := len(prompt.IDs)+o.MaxNewTokens, g.Config.Text.MaxPositionEmbeddings
	switch {
	case len(prompt.IDs) == 0:
		return out, errors.New("the prompt is empty")
	case len(prompt.IDs) >= limit:
		return out, &ContextError{len(prompt.IDs), o.MaxNewTokens, limit}
	case len(images) != len(prompt.Images):
		return out, fmt.Errorf("%d images given, the prompt has %d", len(images), len(prompt.Images))
	}
	if err := g.checkClips(prompt, o.Clips); err != nil {
		return out, err
	}
	if prompt.Grids == nil {
		prompt.Grids = slices.Repeat([]chat.Grid{g.Config.Vision.SquareGrid()}, len(images))
	}
	total = min(total, limit)
	if err := g.reserveCache(ctx, total); err != nil {
		return out, err
	}
	sampler := o.sampler(prompt.IDs, g.Processor.NeverGenerated())
	start := time.Now()
	p, cached, err := g.prefill(ctx, newSequence(prompt, images, g.frames(o.Clips)))
	out.CachedTokens = cached
	var next Token
	if err == nil {
		next, err = g.nextToken(p, sampler, len(prompt.IDs))
	}
	if err != nil {
		return out, err
	}
	out.Prefill = time.Since(start)
	start = time.Now()
	for len(out.IDs) < total-len(prompt.IDs) {
		more := o.Token == nil || o.Token(next)
		if g.Processor.IsEOS(next.ID) {
			out.Finish = "stop"
			break
		}
		if out.IDs = append(out.IDs, next.ID); !more {
			out.Finish = "stop"
			break
		}
		if len(prompt.IDs)+len(out.IDs) >= total {
			break
		}
		if p, err = g.decode(ctx, next.ID); err == nil {
			next, err = g.nextToken(p, sampler, len(prompt.IDs)+len(out.IDs))
		}
		if err != nil {
			break
		}
	}
	out.Decode = time.Since(start)
	return out, err
}

// nextToken chooses the token after a pass; tokens is the length of the sequence before it.
func (g *Generator) nextToken(p *pass, s *sampler, tokens int) (next Token, err error) {
	if s == nil {
		var argmax [1]int32
		if err = engine.DownloadTemp(g.Device, p.exe, p.argmax.View(), argmax[:]); err != nil {
			return next, err
		}
		if argmax[0] >= 0 && !slices.Contains(g.Processor.NeverGenerated(), argmax[0]) {
			return Token{ID: argmax[0]}, nil
		}
		s = Sampling{}.newSampler(nil, g.Processor.NeverGenerated())
	}
	logits := s.logitsBuffer(p.logits.Size())
	if err = engine.DownloadTemp(g.Device, p.exe, p.logits.View(), logits); err != nil {
		return next, err
	}
	next, err = s.token(logits)
	if errors.Is(err, errNotFinite) {
		g.Forget() // the cache has NaN too
		err = &NotFiniteError{tokens}
	}
	return next, err
}

// cacheStep is the granularity of the cache capacity, in tokens.
const cacheStep = 256

// reserveCache ensures capacity for a number of tokens. A cache that grows at least doubles, and
// keeps its contents.
func (g *Generator) reserveCache(ctx context.Context, tokens int) error {
	limit, size := g.Config.Text.MaxPositionEmbeddings, roundUp(tokens, cacheStep)
	if g.cache != nil {
		if g.cache.Capacity >= tokens {
			return nil
		}
		size = max(size, 2*g.cache.Capacity)
	}
	size = min(size, limit)
	cache, rope := vlm.NewCache(g.Model, size, largestPass(g.Config)), ropeBuffers(g.Model, size)
	memories, err := engine.Allocate(g.Device, "the key/value cache", slices.Concat(cache.Buffers, rope)...)
	if err != nil {
		return err
	}
	for i, kind := range g.Config.Text.AttentionKinds() {
		err = errors.Join(err, engine.Upload(g.Device, rope[i].View(), kind.RoPETable(size)))
	}
	held := g.cached
	if err == nil && g.cache != nil {
		err = g.cache.CopyTo(ctx, g.Device, cache)
	}
	if err != nil {
		engine.Free(memories)
		return err
	}
	g.Close() // the programs are bound to the old cache
	g.cache, g.rope, g.memories, g.cached = cache, rope, memories, held
	return nil
}

// ropeBuffers describes the RoPE tables of a model by kind of attention, with a row for each position.
func ropeBuffers(m *vlm.Model, positions int) []*engine.Buffer {
	var tables []*engine.Buffer
	for _, kind := range m.Config.Text.AttentionKinds() {
		tables = append(tables, engine.NewBuffer("rope table", 4*int64(positions*kind.HeadDim)))
	}
	return tables
}

// Forget discards the cached tokens, for when the weights have changed.
func (g *Generator) Forget() { g.cached = sequence{} }

// Close releases the cache and the programs.
func (g *Generator) Close() {
	g.freePasses()
	g.closeEmbedders()
	engine.Free(g.memories)
	g.memories, g.cache, g.rope, g.cached = nil, nil, nil, sequence{}
}

func roundUp(n, to int) int { return (n + to - 1) / to * to }
