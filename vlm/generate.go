package vlm

import (
	"context"
	"fmt"
	"slices"
	"time"

	"patchwork/engine"
	"patchwork/nn"
	"patchwork/shaders"
	"patchwork/vlm/batch"
	"patchwork/vlm/chat"
)

// Generator continues texts, with a key/value cache.
type Generator struct {
	*Loaded

	cache    *Cache
	memories []engine.Memory
	decode   *generation
}

// generation is a compiled program that ends in the logits of one token.
type generation struct {
	exe          engine.Executable
	in           *Inputs
	logits, best *nn.Tensor
	step         [shaders.StepWords]uint32
}

// NewGenerator generates with a model that is on its device.
func NewGenerator(l *Loaded) *Generator { return &Generator{Loaded: l} }

// GenerateOptions say how a text is continued.
type GenerateOptions struct {
	MaxNewTokens int
	Sampling     Sampling
	// Token, when set, is called with every token as it comes, the last one too.
	Token func(id int32)
}

// Generated is a continuation.
type Generated struct {
	IDs          []int32 // without the end of turn
	PromptTokens int
	Finish       string // "stop" at the end of turn, "length" otherwise
	Prefill      time.Duration
	Decode       time.Duration
}

// ContextError is a prompt that does not fit.
type ContextError struct{ Prompt, New, Context int }

func (e *ContextError) Error() string {
	return fmt.Sprintf("the prompt has %d tokens and %d are to be generated; the model's context is %d", e.Prompt, e.New, e.Context)
}

// Generate continues a prompt whose pictures are given as pixels [S,S,C] each.
func (g *Generator) Generate(ctx context.Context, prompt chat.Tokens, pictures [][]byte, o GenerateOptions) (Generated, error) {
	out := Generated{PromptTokens: len(prompt.IDs), Finish: "length"}
	total, limit := len(prompt.IDs)+o.MaxNewTokens, g.Config.Text.MaxPositionEmbeddings
	switch {
	case len(prompt.IDs) == 0:
		return out, fmt.Errorf("the prompt is empty")
	case len(prompt.IDs) >= limit || total > limit && o.MaxNewTokens > 0 && len(prompt.IDs)+1 > limit:
		return out, &ContextError{len(prompt.IDs), o.MaxNewTokens, limit}
	case len(pictures) != len(prompt.Images):
		return out, fmt.Errorf("%d pictures for %d places in the prompt", len(pictures), len(prompt.Images))
	}
	total = min(total, limit)
	if err := g.reserve(total); err != nil {
		return out, err
	}
	sampler := o.Sampling.sampler()
	start := time.Now()
	next, err := g.prefill(ctx, prompt, pictures, sampler)
	if err != nil {
		return out, err
	}
	out.Prefill = time.Since(start)
	start = time.Now()
	for past := len(prompt.IDs); len(out.IDs) < total-len(prompt.IDs); past++ {
		if o.Token != nil {
			o.Token(next)
		}
		if g.Language.Ends(next) {
			out.Finish = "stop"
			break
		}
		out.IDs = append(out.IDs, next)
		if past+1 >= total {
			break
		}
		if next, err = g.continueWith(ctx, next, past, sampler); err != nil {
			return out, err
		}
	}
	out.Decode = time.Since(start)
	return out, nil
}

// reserve makes room for a sequence of so many tokens. The decoding program is
// bound to the cache, so that both live until a longer sequence comes.
func (g *Generator) reserve(tokens int) error {
	if g.cache != nil && g.cache.Capacity >= tokens {
		return nil
	}
	g.Free()
	capacity := min((tokens+255)/256*256, g.Config.Text.MaxPositionEmbeddings)
	g.cache = newCache(g.Config.Text, capacity)
	memories, err := engine.Allocate(g.Device, "the key/value cache", g.cache.buffers...)
	g.memories = memories
	if err != nil {
		g.cache = nil
	}
	return err
}

// Free releases the cache and the decoding program.
func (g *Generator) Free() {
	if g.decode != nil {
		g.decode.free()
		g.decode = nil
	}
	for _, m := range g.memories {
		m.Free()
	}
	g.memories, g.cache = nil, nil
}

func (p *generation) free() {
	p.exe.Free()
	p.in.free()
}

// prefill runs the whole prompt and returns the token after it.
func (g *Generator) prefill(ctx context.Context, prompt chat.Tokens, pictures [][]byte, s *sampler) (int32, error) {
	b, err := batch.Build(batch.Shape{Rows: 1, T: len(prompt.IDs), Patches: g.Config.Vision.Patches()},
		batch.Modes{Attention: g.Config.Attention, Turns: batch.InConversation, Loss: batch.OnAll},
		[][]*batch.Sample{{{IDs: prompt.IDs, Answer: prompt.Answer, Images: prompt.Images}}})
	if err != nil {
		return 0, err
	}
	p, err := g.compile(len(prompt.IDs), len(pictures))
	if err != nil {
		return 0, err
	}
	defer p.free()
	return g.run(ctx, p, b, slices.Concat(pictures...), 0, s)
}

// continueWith runs one token behind past others and returns the next.
func (g *Generator) continueWith(ctx context.Context, id int32, past int, s *sampler) (int32, error) {
	if g.decode == nil {
		p, err := g.compile(1, 0)
		if err != nil {
			return 0, err
		}
		g.decode = p
	}
	b := &batch.Batch{
		IDs: []int32{id}, Positions: []int32{int32(past)}, Segments: []int32{0}, ImageSlots: []int32{-1},
		Intervals: []int32{0, 0, 0, int32(past + 1)}, Targets: []int32{batch.Ignore},
	}
	return g.run(ctx, g.decode, b, nil, past, s)
}

// compile records the pass over so many tokens that writes the cache and ends in
// the last token's logits.
func (g *Generator) compile(tokens, pictures int) (*generation, error) {
	p := &generation{in: g.newInputs(1, tokens, pictures, g.cache.Capacity)}
	program, err := nn.Record("generate", nn.Options{Params: g.Params}, func(r *nn.Graph) {
		x := g.hidden(r, p.in, g.cache, nil)
		last := r.GatherRows(x, p.in.tensor(p.in.targetRows), 1)
		p.logits = r.Keep(r.Linear(last, r.Param(g.decoder.head), nil, nil))
		p.best = r.Keep(r.ArgMax(p.logits))
	})
	if err != nil {
		return nil, err
	}
	plan, err := engine.NewPlan(program)
	if err != nil {
		return nil, err
	}
	if err := p.in.allocate(g.Device); err != nil {
		return nil, err
	}
	p.exe, err = g.Device.Compile(plan, nil)
	return p, err
}

func (g *Generator) run(ctx context.Context, p *generation, b *batch.Batch, pixels []byte, past int, s *sampler) (int32, error) {
	if _, err := p.in.upload(g.Device, b, pixels, &p.step); err != nil {
		return 0, err
	}
	// The row whose logits are wanted: the last.
	if err := engine.Upload(g.Device, p.in.targetRows.View(), []int32{int32(len(b.IDs) - 1)}); err != nil {
		return 0, err
	}
	p.step[slotPast] = uint32(past)
	if err := p.exe.Run(ctx, &p.step); err != nil {
		return 0, err
	}
	if s == nil {
		var best [1]int32
		err := engine.DownloadTemp(g.Device, p.exe, p.best.View(), best[:])
		return best[0], err
	}
	logits := make([]float32, p.logits.Size())
	if err := engine.DownloadTemp(g.Device, p.exe, p.logits.View(), logits); err != nil {
		return 0, err
	}
	return s.next(logits), nil
}
