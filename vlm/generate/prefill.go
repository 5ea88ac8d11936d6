package generate

import (
	"context"
	"fmt"
	"slices"

	"patchwork/engine"
	"patchwork/nn"
	"patchwork/shaders"
	"patchwork/vlm"
	"patchwork/vlm/packing"
)

// passSizes are the capacities of passes, in tokens: a prompt is processed in chunks of the
// largest, its remainder and the next turn of a conversation by the smallest that fits. Unused
// rows cost little.
var passSizes = []int{1, 64, 512}

// pass is a compiled program that runs up to size tokens, which follow those in the cache, through
// the decoder and computes the logits of the last.
type pass struct {
	exe            engine.Executable
	size           int
	experts        bool // image tokens have weights of their own
	memories       []engine.Memory
	input          *engine.Buffer
	words          []int32 // contents of input
	sections       map[string][]int32
	logits, argmax *nn.Tensor
	step           [shaders.StepWords]uint32
}

func (p *pass) free() {
	if p.exe != nil {
		p.exe.Free()
	}
	engine.Free(p.memories)
}

func (g *Generator) freePasses() {
	for _, p := range g.passes {
		p.free()
	}
	clear(g.passes)
}

// prefill brings the sequence into the cache. It returns the last pass, which has the logits of
// the last token, and the number of tokens that were cached.
func (g *Generator) prefill(ctx context.Context, s sequence) (p *pass, cached int, err error) {
	b, err := g.layOut(s)
	if err != nil {
		return nil, 0, err
	}
	start := g.cache.Reusable(g.imageBoundary(s, min(s.commonPrefix(g.cached), len(s.ids)-1)))
	g.cached = g.cached.prefix(start)
	fresh := s.fresh(start)
	if err := g.encode(ctx, fresh); err != nil {
		return nil, start, err
	}
	fresh.placeSlots(b)
	for at := start; at < len(s.ids); {
		end := min(at+g.maxPass(), len(s.ids))
		if boundary := g.imageBoundary(s, end); boundary > at && end < len(s.ids) {
			end = boundary
		}
		if p, err = g.run(ctx, b, at, end); err != nil {
			return nil, start, err
		}
		g.cached = s.prefix(end)
		at = end
	}
	return p, start, nil
}

// layOut returns a sequence as one row.
func (g *Generator) layOut(s sequence) (*packing.Batch, error) {
	return packing.Build(packing.Shape{Rows: 1, T: len(s.ids)},
		packing.Modes{Attention: g.Config.Attention, Turns: packing.InConversation, Loss: packing.OnAll},
		[][]*packing.Sample{{{IDs: s.ids, LossMask: make([]bool, len(s.ids)), Images: s.images, Grids: s.grids, Clips: s.clips}}})
}

// imageBoundary moves an index inside an image to its start if the tokens of an image attend to
// each other, and so must be in the same pass.
func (g *Generator) imageBoundary(s sequence, at int) int {
	if k := s.imagesBefore(at); g.Config.Attention == packing.DocumentBidirectionalImage && k > 0 && at < s.imageEnd(k-1) {
		return s.images[k-1]
	}
	return at
}

// maxPass is the capacity of the largest pass; an image fits.
func (g *Generator) maxPass() int {
	n := passSizes[len(passSizes)-1]
	if g.embedder != nil {
		n = max(n, g.Config.Vision.Patches())
	}
	return n
}

// largestPass is the largest maxPass of a model.
func largestPass(c vlm.Config) int { return max(passSizes[len(passSizes)-1], c.Vision.Patches()) }

// decode runs one more token through the decoder.
func (g *Generator) decode(ctx context.Context, id int32) (*pass, error) {
	past := len(g.cached.ids)
	b := &packing.Batch{IDs: []int32{id}, Positions: []int32{int32(past)}, ImageSlots: []int32{-1}, Intervals: []int32{0, 0, 0, int32(past + 1)}}
	p, err := g.runBatch(ctx, b, past)
	if err == nil {
		g.cached.ids = append(g.cached.ids, id)
	}
	return p, err
}

// run runs tokens [lo,hi) of a row, whose image slots are rows of the vectors, through the decoder.
func (g *Generator) run(ctx context.Context, b *packing.Batch, lo, hi int) (*pass, error) {
	return g.runBatch(ctx, part(b, lo, hi), lo)
}

// part is tokens [lo,hi) of a row.
func part(b *packing.Batch, lo, hi int) *packing.Batch {
	return &packing.Batch{
		IDs: b.IDs[lo:hi], Positions: b.Positions[lo:hi], ImageSlots: b.ImageSlots[lo:hi], FrameSlots: b.FrameSlots[lo:hi],
		Intervals: b.Intervals[4*lo : 4*hi],
	}
}

func (g *Generator) runBatch(ctx context.Context, b *packing.Batch, past int) (*pass, error) {
	p, err := g.pass(g.passTokens(b))
	if err != nil {
		return nil, err
	}
	p.setTokens(b)
	for i := range g.Config.Text.AttentionKinds() {
		copy(p.sections[intervalsSection(i)], g.cache.Intervals(i, b.Intervals, b.Positions, past))
	}
	p.divideTokens(b)
	g.cache.SetStep(&p.step, past, len(b.IDs))
	return p, p.start(ctx, g.Device)
}

// setTokens sets the inputs that say which tokens a pass runs, and clears all others.
func (p *pass) setTokens(b *packing.Batch) {
	clear(p.words) // unused rows: token 0 at position 0, which attends to nothing
	copy(p.sections["ids"], b.IDs)
	copy(p.sections["positions"], b.Positions)
	for i := range p.sections["slots"] {
		p.sections["slots"][i] = -1
		if i < len(b.ImageSlots) && b.ImageSlots[i] >= 0 {
			p.sections["slots"][i] = b.ImageSlots[i]
		}
	}
	p.sections["last"][0] = int32(len(b.IDs) - 1)
}

// start uploads the inputs and starts the pass.
func (p *pass) start(ctx context.Context, dev engine.Device) error {
	if err := engine.Upload(dev, p.input.View(), p.words); err != nil {
		return err
	}
	return engine.Start(ctx, p.exe, &p.step)
}

// divideTokens writes, for image experts, which tokens of a pass are image patches and which are not.
func (p *pass) divideTokens(b *packing.Batch) {
	if !p.experts {
		return
	}
	var images, others int
	for t := range b.IDs {
		if b.ImageSlots[t] >= 0 && (b.FrameSlots == nil || b.FrameSlots[t] < 0) {
			p.sections["image tokens"][images] = int32(t)
			images++
		} else {
			p.sections["other tokens"][others] = int32(t)
			others++
		}
	}
	p.step[vlm.SlotPatches], p.step[vlm.SlotOthers] = uint32(images), uint32(others)
}

// passTokens is the number of tokens of the pass for a batch: one token of an image needs the experts,
// which the pass of one token has not.
func (g *Generator) passTokens(b *packing.Batch) int {
	if n := len(b.IDs); n > 1 || !g.Config.ImageExperts || b.ImageSlots[0] < 0 {
		return n
	}
	return 2
}

// pass returns the compiled pass for a number of tokens.
func (g *Generator) pass(tokens int) (*pass, error) {
	size := g.passSize(tokens)
	if p := g.passes[size]; p != nil {
		return p, nil
	}
	p, err := g.compile(size)
	if err != nil {
		return nil, err
	}
	g.passes[size] = p
	return p, nil
}

// passSize returns the capacity of the pass for a number of tokens.
func (g *Generator) passSize(tokens int) int {
	size := g.maxPass()
	for _, n := range slices.Backward(passSizes) {
		if n >= tokens {
			size = n
		}
	}
	return size
}

// compile compiles the pass of a capacity.
func (g *Generator) compile(size int) (*pass, error) {
	p, plan, err := g.planPass(size, 0)
	if err != nil {
		return nil, err
	}
	return p, p.compile(g.Device, plan)
}

// compile compiles what was planned for a pass, and allocates its inputs.
func (p *pass) compile(dev engine.Device, plan *engine.Plan) (err error) {
	if p.memories, err = engine.Allocate(dev, "inputs", p.input); err != nil {
		return err
	}
	if p.exe, err = dev.Compile(plan, nil); err != nil {
		p.free()
	}
	return err
}

// planPass records the pass of a capacity; density is nn.Options.AttentionDensity.
func (g *Generator) planPass(size int, density float64) (*pass, *engine.Plan, error) {
	p := &pass{size: size, sections: map[string][]int32{}, experts: g.Config.ImageExperts && size > 1}
	kinds := g.Config.Text.AttentionKinds()
	views := p.layout(len(kinds))
	program, err := nn.Record("generate", nn.Options{Params: g.Params, AttentionDensity: density, Type: g.Storage()}, func(r *nn.Graph) {
		input := func(name string, shape ...int) *nn.Tensor { return nn.InputAt(views[name], shape...) }
		var features *nn.Tensor
		if g.vectors != nil {
			features = g.vectors.Features()
		}
		in := vlm.CachedInputs{
			Tokens: size, IDs: input("ids", size), Slots: input("slots", size),
			Positions: input("positions", 1, size), Last: input("last", 1), Features: features, Cache: g.cache,
		}
		if p.experts {
			in.ImageTokens, in.OtherTokens = input("image tokens", size), input("other tokens", size)
		}
		for i, kind := range kinds {
			in.Intervals = append(in.Intervals, input(intervalsSection(i), size, 4))
			in.RoPE = append(in.RoPE, nn.Input(g.rope[i], g.cache.Capacity, kind.HeadDim))
		}
		p.logits = r.Keep(g.NextLogits(r, in))
		p.argmax = r.Keep(r.ArgMax(p.logits))
	})
	if err != nil {
		return nil, nil, err
	}
	plan, err := g.Plan(program)
	return p, plan, err
}

// intervalsSection is the section of the intervals of a kind of attention.
func intervalsSection(kind int) string { return fmt.Sprintf("intervals %d", kind) }

// inputSection is an input of a pass.
type inputSection struct {
	name  string
	words int
}

// layout places all inputs of a pass, with others, in one buffer, so that one transfer uploads them.
func (p *pass) layout(kinds int, others ...inputSection) map[string]engine.View {
	const line = int(engine.Alignment / 4)
	sections := append([]inputSection{{"ids", p.size}, {"slots", p.size}, {"positions", p.size}, {"last", 1}}, others...)
	if p.experts {
		sections = append(sections, inputSection{"image tokens", p.size}, inputSection{"other tokens", p.size})
	}
	for i := range kinds {
		sections = append(sections, inputSection{intervalsSection(i), 4 * p.size})
	}
	total := 0
	for _, s := range sections {
		total += roundUp(s.words, line)
	}
	p.words, p.input = make([]int32, total), engine.NewBuffer("tokens", 4*int64(total))
	views, at := map[string]engine.View{}, 0
	for _, s := range sections {
		views[s.name] = p.input.View().Slice(4*int64(at), 4*int64(s.words))
		p.sections[s.name] = p.words[at:][:s.words:s.words]
		at += roundUp(s.words, line)
	}
	return views
}
