package vlm

import (
	"fmt"
	"strings"

	"patchwork/engine"
	"patchwork/nn"
)

// Modality experts, as in EVEv2 (Diao et al. 2025) and Mono-InternVL-1.5 (Luo et al. 2025): image tokens
// have their own matrices and norms in every layer, and attention is over all tokens.

// ExpertPrefix begins the names of the parameters of image tokens in the decoder's layers.
const ExpertPrefix = "image_experts."

// newExpert declares the weights of image tokens in layer i.
func newExpert(d nn.Declarer, c TextConfig, i int, init Init) *layerWeights {
	d.Group, d.Block = GroupExperts, fmt.Sprintf("%slayers.%d.", ExpertPrefix, i)
	w := newLayerWeights(d, c, i, d.Block, init)
	return &w
}

// CopyExperts makes the weights of image tokens copies of the decoder's.
func (m *Model) CopyExperts(dev engine.Device) error {
	for _, p := range m.Params.All() {
		name, ok := strings.CutPrefix(p.Name, ExpertPrefix)
		if !ok {
			continue
		}
		values, err := m.Params.Read(dev, m.Params.Weights, m.Params.ByName(DecoderPrefix+"model."+name))
		if err != nil {
			return err
		}
		if err := m.Params.Write(dev, p, values); err != nil {
			return err
		}
	}
	return nil
}

// tokenSubsets are the image tokens and all others.
type tokenSubsets struct{ images, others nn.RowSubset }

func newTokenSubsets(images, others *nn.Tensor) *tokenSubsets {
	return &tokenSubsets{nn.RowSubset{Index: images, Slot: SlotPatches}, nn.RowSubset{Index: others, Slot: SlotOthers}}
}

// forwardExperts is forward with image tokens through the expert.
func (l *decoderLayer) forwardExperts(g *nn.Graph, x *nn.Tensor, c attentionContext, i int, trace Trace) *nn.Tensor {
	subsets, weights := []nn.RowSubset{c.subsets.images, c.subsets.others}, []*layerWeights{l.expert, &l.layerWeights}
	xs := g.TakeRows(x, subsets) // [N, D] each
	y := l.attend(g, c, i, trace, func(rope nn.RoPE) (q, k, v *nn.Tensor) {
		qs, ks, vs := make([]*nn.Tensor, len(xs)), make([]*nn.Tensor, len(xs)), make([]*nn.Tensor, len(xs))
		for j, w := range weights {
			qs[j], ks[j], vs[j] = w.qkv.Project(g, xs[j])
		}
		q, k, v = g.PutRows(x, subsets, qs), g.PutRows(x, subsets, ks), g.PutRows(x, subsets, vs) // [B·T, …]
		if c.cache == nil {
			return l.qkv.Rotate(g, q, k, v, rope)
		}
		return l.qkv.RotateCached(g, q, k, v, rope, c.cache.layer(i))
	})
	for j, y := range g.TakeRows(y, subsets) {
		xs[j] = weights[j].add(g, xs[j], y, i, nil)
	}
	return g.PutRows(x, subsets, xs)
}
