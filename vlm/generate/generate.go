package generate

import (
	"context"
	"errors"
	"fmt"
	"time"

	"patchwork/engine"
	"patchwork/vlm"
	"patchwork/vlm/chat"
)

// Generator continues texts. What the key/value cache holds of an earlier text is
// not computed again where the next one begins alike, pictures included; its
// programs are compiled once and replayed.
type Generator struct {
	*vlm.Runner

	cache    *vlm.Cache
	rope     *engine.Buffer // a row for each of the cache's tokens
	memories []engine.Memory
	held     sequence // what the cache holds
	passes   map[int]*pass
	embedder *vlm.ImageEmbedder // nil until there is a picture
}

// New generates with a model that is on its device.
func New(l *vlm.Runner) *Generator { return &Generator{Runner: l, passes: map[int]*pass{}} }

// Options say how a text is continued.
type Options struct {
	MaxNewTokens int
	Sampling     Sampling
	// Token, when set, is called with every token as it comes, the last one too.
	Token func(id int32)
}

// Result is a continuation.
type Result struct {
	IDs          []int32 // without the token that ends it
	PromptTokens int
	CachedTokens int    // of the prompt, which were in the cache already
	Finish       string // "stop" at the end of turn, "length" otherwise
	Prefill      time.Duration
	Decode       time.Duration
}

// ContextError is a prompt that does not fit.
type ContextError struct{ Prompt, New, Context int }

func (e *ContextError) Error() string {
	return fmt.Sprintf("the prompt has %d tokens and %d are to be generated; the model's context is %d", e.Prompt, e.New, e.Context)
}

// NotFiniteError is a model whose logits no token can be chosen by: one is NaN, or the
// largest infinite.
type NotFiniteError struct {
	Token int // how many tokens the text has that they follow, the prompt's included
}

func (e *NotFiniteError) Error() string {
	return fmt.Sprintf("the model's output is not a number after token %d: its weights hold what is not a number, or values too large for the type that it is computed in", e.Token)
}

// Generate continues a prompt whose pictures are given as pixels [S,S,C] each.
// When ctx is cancelled it returns what there is with the context's error.
func (g *Generator) Generate(ctx context.Context, prompt chat.Tokens, pictures [][]byte, o Options) (Result, error) {
	out := Result{PromptTokens: len(prompt.IDs), Finish: "length"}
	total, limit := len(prompt.IDs)+o.MaxNewTokens, g.Config.Text.MaxPositionEmbeddings
	switch {
	case len(prompt.IDs) == 0:
		return out, errors.New("the prompt is empty")
	case len(prompt.IDs) >= limit:
		return out, &ContextError{len(prompt.IDs), o.MaxNewTokens, limit}
	case len(pictures) != len(prompt.Images):
		return out, fmt.Errorf("%d pictures for %d places in the prompt", len(pictures), len(prompt.Images))
	}
	total = min(total, limit)
	if err := g.reserve(ctx, total); err != nil {
		return out, err
	}
	sampler := o.Sampling.sampler(prompt.IDs)
	start := time.Now()
	p, cached, err := g.prefill(ctx, newSequence(prompt, pictures))
	out.CachedTokens = cached
	var next int32
	if err == nil {
		next, err = g.choose(p, sampler, len(prompt.IDs))
	}
	if err != nil {
		return out, err
	}
	out.Prefill = time.Since(start)
	start = time.Now()
	for len(out.IDs) < total-len(prompt.IDs) {
		if o.Token != nil {
			o.Token(next)
		}
		if g.Processor.Ends(next) {
			out.Finish = "stop"
			break
		}
		out.IDs = append(out.IDs, next)
		if len(prompt.IDs)+len(out.IDs) >= total {
			break
		}
		if p, err = g.decode(ctx, next); err == nil {
			next, err = g.choose(p, sampler, len(prompt.IDs)+len(out.IDs))
		}
		if err != nil {
			break
		}
	}
	out.Decode = time.Since(start)
	return out, err
}

// choose picks the token after a pass, the one behind so many tokens.
func (g *Generator) choose(p *pass, s *sampler, behind int) (next int32, err error) {
	ok := false
	if s == nil {
		var best [1]int32
		if err = engine.DownloadTemp(g.Device, p.exe, p.best.View(), best[:]); err != nil {
			return 0, err
		}
		next, ok = best[0], best[0] >= 0
	} else {
		logits := s.room(p.logits.Size())
		if err = engine.DownloadTemp(g.Device, p.exe, p.logits.View(), logits); err != nil {
			return 0, err
		}
		next, ok = s.next(logits)
	}
	if !ok {
		g.Forget() // what is not a number is in the cache as well
		return 0, &NotFiniteError{behind}
	}
	return next, nil
}

// cacheStep is what the cache's size is rounded up to, in tokens.
const cacheStep = 256

// reserve makes room for a sequence of so many tokens. A cache that has to grow
// doubles, and keeps what it holds.
func (g *Generator) reserve(ctx context.Context, tokens int) error {
	limit, size := g.Config.Text.MaxPositionEmbeddings, roundUp(tokens, cacheStep)
	if g.cache != nil {
		if g.cache.Capacity >= tokens {
			return nil
		}
		size = max(size, 2*g.cache.Capacity)
	}
	size = min(size, limit)
	t := g.Config.Text
	cache, rope := vlm.NewCache(t, g.Storage(), size), engine.NewBuffer("rope table", 4*int64(size*t.HeadDim))
	memories, err := engine.Allocate(g.Device, "the key/value cache", append(cache.Buffers, rope)...)
	if err != nil {
		return err
	}
	err = engine.Upload(g.Device, rope.View(), t.RoPETable(size))
	held := g.held
	if err == nil && g.cache != nil {
		err = g.cache.CopyTo(ctx, g.Device, cache)
	}
	if err != nil {
		engine.Free(memories)
		return err
	}
	g.Close() // the programs are bound to the old cache
	g.cache, g.rope, g.memories, g.held = cache, rope, memories, held
	return nil
}

// Forget makes the generator compute the next text anew, as its weights have changed.
func (g *Generator) Forget() { g.held = sequence{} }

// Free releases the cache and the programs.
func (g *Generator) Close() {
	g.freePasses()
	g.embedder.Close()
	engine.Free(g.memories)
	g.memories, g.cache, g.rope, g.held, g.embedder = nil, nil, nil, sequence{}, nil
}

func roundUp(n, to int) int { return (n + to - 1) / to * to }
