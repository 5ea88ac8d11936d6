package generate

import (
	"context"
	"errors"
	"fmt"
	"math"

	"patchwork/engine"
	"patchwork/vlm"
	"patchwork/vlm/chat"
)

// observed is a known answer of a sequence, and the pass that computes its attention.
type observed struct {
	first   int // the token before the answer
	patches int // of all images
	pass    *pass
	probe   *vlm.AttentionProbe
	maps    []AttentionMap // of the tokens so far
}

// observedTokens is the capacity of a pass that computes attention, in tokens: each has its share of every
// patch in every layer.
const observedTokens = 64

// maxProbeBytes limits the memory of the groups of keys, which grows with the patches times the tokens.
const maxProbeBytes = 256 << 20

// ProbeError reports a conversation with too many patches and tokens for their attention.
type ProbeError struct {
	Patches, Tokens int
	Bytes           int64
}

func (e *ProbeError) Error() string {
	return fmt.Sprintf("the attention on %d patches in %d tokens takes %d MiB, at most %d are used; ask with fewer or smaller pictures", e.Patches, e.Tokens, e.Bytes>>20, maxProbeBytes>>20)
}

// Observe adds a sequence whose answer is known. Instead of generating, the batch computes the attention
// from which each of the answer's tokens was predicted, as the mean of all layers: Attention, when Done.
// The error is ErrNoRoom, or why it can never be computed.
func (b *Batch) Observe(prompt chat.Tokens, images [][]byte, answer []int32, o Options) (*Sequence, error) {
	if len(images) == 0 || len(prompt.IDs) == 0 || len(answer) == 0 {
		return nil, errors.New("attention needs a prompt with an image, and an answer")
	}
	whole := prompt
	whole.IDs = append(prompt.IDs[:len(prompt.IDs):len(prompt.IDs)], answer[:len(answer)-1]...) // nothing is predicted from the last
	o.MaxNewTokens = 0
	s, err := b.newSequence(whole, images, o)
	if err != nil {
		return nil, err
	}
	s.observed = &observed{first: len(prompt.IDs) - 1}
	for _, g := range s.grids {
		s.observed.patches += g.Tokens()
	}
	if b.media.imageBoundary(s.sequence, s.observed.first) != s.observed.first {
		return nil, errors.New("the prompt ends in an image, without a text after it")
	}
	keys := s.observed.keys(s)
	if n := vlm.ProbeBytes(b.Config.Text, keys, s.observed.patches+2); n > maxProbeBytes {
		return nil, &ProbeError{s.observed.patches, len(s.ids), n}
	}
	return s, b.add(s)
}

// Attention is, for a sequence of Observe that is Done, the attention of every token of its answer.
func (s *Sequence) Attention() []AttentionMap {
	if s.observed == nil {
		return nil
	}
	return s.observed.maps
}

// needed is the first token of which more than keys and values is needed.
func (s *Sequence) needed() int {
	if s.observed != nil {
		return s.observed.first
	}
	return len(s.ids) - 1
}

// keys is the number of keys that the passes read at most.
func (*observed) keys(s *Sequence) int { return roundUp(len(s.ids), keyTile) }

func (o *observed) free() {
	if o == nil || o.pass == nil {
		return
	}
	o.pass.free()
	o.probe.Close()
	o.pass, o.probe = nil, nil
}

// observe runs the next tokens of a known answer, and records their attention.
func (b *Batch) observe(ctx context.Context, s *Sequence) error {
	o := s.observed
	if o.pass == nil {
		if err := b.compileObserved(s); errors.Is(err, engine.ErrOutOfMemory) {
			s.end(err) // other sequences do not need it
			return nil
		} else if err != nil {
			return err
		}
	}
	n, end := s.at, min(s.at+observedTokens, s.toRead)
	b.setPiece(o.pass, s, end)
	if err := o.pass.start(ctx, b.Device); err != nil {
		return err
	}
	layers, err := o.probe.Read(ctx, b.Device, o.pass.exe)
	if err != nil {
		return err
	}
	s.advance(b.pool, end)
	for i := range end - n {
		shares := make([][]float32, len(layers))
		for j, layer := range layers {
			shares[j] = layer[i]
		}
		m := meanOfShares(shares)
		if sum := m.ImageShare() + m.Prompt + m.Answer; math.IsNaN(sum) || math.IsInf(sum, 0) {
			s.end(b.discard(s))
			return nil
		}
		o.maps = append(o.maps, m)
	}
	if end == s.toRead {
		s.end(nil)
	}
	return nil
}

// compileObserved makes the pass that computes a sequence's attention.
func (b *Batch) compileObserved(s *Sequence) (err error) {
	o := s.observed
	keys := o.keys(s)
	group := make([]int, keys) // of each token: a patch, the rest of the prompt, or the answer
	for t := range group {
		if group[t] = o.patches; t > o.first {
			group[t]++
		}
	}
	patch := 0
	for i, at := range s.images {
		for t := range s.grids[i].Tokens() {
			group[at+t] = patch
			patch++
		}
	}
	if o.probe, err = vlm.NewPassProbe(b.Runner, group, o.patches+2); err != nil {
		return err
	}
	p, plan, err := b.planPass(batchPass{observedTokens, true}, keys, o.probe)
	if err == nil {
		err = p.compile(b.Device, plan)
	}
	if err != nil {
		o.probe.Close()
		return err
	}
	o.pass = p
	return nil
}
