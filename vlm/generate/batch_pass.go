package generate

import (
	"context"

	"patchwork/engine"
	"patchwork/nn"
	"patchwork/vlm"
	"patchwork/vlm/packing"
)

// batchPass is a kind of pass of a Batch: one token of each of up to size sequences, or up to size tokens
// of a prompt.
type batchPass struct {
	size   int
	prompt bool
}

// keyTile is the number of keys that attention reads together at most: those after the last in use must
// be finite.
const keyTile = 256

// pieceTokens are the most tokens of a prompt that are read while others wait for their next token.
const pieceTokens = 128

func (b *Batch) freePasses() {
	for _, p := range b.passes {
		p.free()
	}
	clear(b.passes)
}

// pieceEnd is the end of the next piece of a prompt: an image whose tokens attend to each other is in one.
func (b *Batch) pieceEnd(s *Sequence) int {
	n, largest := s.toRead, b.media.maxPass()
	if s.observed != nil {
		n = s.observed.first
	}
	piece := largest
	if len(b.answers) > 0 {
		piece = pieceTokens
	}
	for _, tokens := range []int{piece, largest} {
		end := min(s.at+tokens, n)
		if end < n {
			end = b.media.imageBoundary(s.sequence, end)
		}
		if end > s.at {
			return end
		}
	}
	return n // not reached: an image fits into the largest pass
}

// runPiece runs a prompt's tokens up to end.
func (b *Batch) runPiece(ctx context.Context, s *Sequence, end int) (*pass, error) {
	size := b.media.maxPass()
	for _, n := range []int{pieceTokens, passSizes[1]} {
		if n >= end-s.at {
			size = n
		}
	}
	p, err := b.pass(batchPass{size, true})
	if err != nil {
		return nil, err
	}
	b.setPiece(p, s, end)
	return p, p.start(ctx, b.Device)
}

// setPiece sets the inputs of a pass that runs a sequence's tokens up to end.
func (b *Batch) setPiece(p *pass, s *Sequence, end int) {
	lo := s.at
	piece := part(s.layout, lo, end)
	p.setTokens(piece)
	p.divideTokens(piece)
	for i, kind := range b.Config.Text.AttentionKinds() {
		copy(p.sections[intervalsSection(i)], kind.Intervals(piece.Intervals, piece.Positions, end-lo, lo))
	}
	for i := range end - lo {
		p.sections["write"][i] = s.row(lo + i)
	}
	used := min(roundUp(end, keyTile), len(p.sections["read"]))
	for i := range used {
		p.sections["read"][i] = s.row(min(i, end-1))
	}
	p.step[vlm.SlotTokens], p.step[vlm.SlotUsed] = uint32(end-lo), uint32(used)
}

// row is the row of the cache of a token.
func (s *Sequence) row(token int) int32 {
	return int32(s.pages[token/vlm.PageRows]*vlm.PageRows + token%vlm.PageRows)
}

// runTokens runs the last token of each of some sequences.
func (b *Batch) runTokens(ctx context.Context, of []*Sequence) (*pass, error) {
	size := 1
	for size < len(of) {
		size *= 2
	}
	p, err := b.pass(batchPass{size, false})
	if err != nil {
		return nil, err
	}
	tokens := &packing.Batch{}
	for _, s := range of {
		at := len(s.ids) - 1
		tokens.IDs, tokens.Positions = append(tokens.IDs, s.ids[at]), append(tokens.Positions, int32(at))
	}
	p.setTokens(tokens)
	perSequence := len(p.sections["pages"]) / size
	for i, s := range of {
		at := len(s.ids) - 1
		p.sections["write"][i] = s.row(at)
		for j, page := range s.pages {
			p.sections["pages"][i*perSequence+j] = int32(page)
		}
		for j, kind := range b.Config.Text.AttentionKinds() {
			copy(p.sections[intervalsSection(j)][4*i:], kind.Intervals([]int32{0, 0, 0, int32(at + 1)}, []int32{int32(at)}, 1, at))
		}
	}
	p.step[vlm.SlotTokens] = uint32(len(of))
	return p, p.start(ctx, b.Device)
}

// pass returns a compiled pass.
func (b *Batch) pass(kind batchPass) (*pass, error) {
	if p := b.passes[kind]; p != nil {
		return p, nil
	}
	p, plan, err := b.planPass(kind, roundUp(b.Context, keyTile), nil)
	if err != nil {
		return nil, err
	}
	if err := p.compile(b.Device, plan); err != nil {
		return nil, err
	}
	b.passes[kind] = p
	return p, nil
}

// planPass records a pass that reads at most capacity keys of a sequence. With a probe it computes the
// attention of its tokens instead of logits.
func (b *Batch) planPass(kind batchPass, capacity int, probe *vlm.AttentionProbe) (*pass, *engine.Plan, error) {
	p := &pass{size: kind.size, sections: map[string][]int32{}, experts: b.Config.ImageExperts && kind.prompt}
	kinds := b.Config.Text.AttentionKinds()
	of := inputSection{"pages", kind.size * capacity / vlm.PageRows}
	if kind.prompt {
		of = inputSection{"read", capacity}
	}
	views := p.layout(len(kinds), inputSection{"write", kind.size}, of)
	program, err := nn.Record("generate", nn.Options{Params: b.Params, Type: b.Storage()}, func(r *nn.Graph) {
		input := func(name string, shape ...int) *nn.Tensor { return nn.InputAt(views[name], shape...) }
		in := vlm.PagedInputs{
			Tokens: kind.size, IDs: input("ids", kind.size), Slots: input("slots", kind.size), Positions: input("positions", 1, kind.size),
			Write: input("write", kind.size), Last: input("last", 1), Cache: b.cache,
		}
		if b.vectors != nil {
			in.Features = b.vectors.Features()
		}
		if p.experts {
			in.ImageTokens, in.OtherTokens = input("image tokens", kind.size), input("other tokens", kind.size)
		}
		if kind.prompt {
			in.Read = input("read", capacity)
		} else {
			in.Pages = input("pages", kind.size, capacity/vlm.PageRows)
		}
		for i, attention := range kinds {
			in.Intervals = append(in.Intervals, input(intervalsSection(i), kind.size, 4))
			in.RoPE = append(in.RoPE, nn.Input(b.rope[i], roundUp(b.Context, keyTile), attention.HeadDim))
		}
		if probe != nil {
			in.Observe = probe.ObservePass(in.Intervals)
			b.PagedLogits(r, in)
			return
		}
		p.logits = r.Keep(b.PagedLogits(r, in))
		p.argmax = r.Keep(r.ArgMaxOf(p.logits, b.Config.Text.VocabSize))
	})
	if err != nil {
		return nil, nil, err
	}
	plan, err := b.Plan(program)
	return p, plan, err
}
