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
	q, k, v := l.projectExperts(g, x, xs, c, i)
	for j, y := range g.TakeRows(l.attend(g, q, k, v, c, i, trace), subsets) {
		xs[j] = weights[j].add(g, xs[j], y, i, nil)
	}
	return g.PutRows(x, subsets, xs)
}

// projectExperts is project for tokens of images xs[0] and others xs[1], which are x's.
func (l *decoderLayer) projectExperts(g *nn.Graph, x *nn.Tensor, xs []*nn.Tensor, c attentionContext, i int) (q, k, v *nn.Tensor) {
	qi, ki, vi := l.expert.qkv.Project(g, xs[0])
	qo, ko, vo := l.qkv.Project(g, xs[1])
	put := func(images, others *nn.Tensor) *nn.Tensor { // [B·T, …]
		return g.PutRows(x, []nn.RowSubset{c.subsets.images, c.subsets.others}, []*nn.Tensor{images, others})
	}
	q, k, v = put(qi, qo), put(ki, ko), put(vi, vo)
	rope := c.kinds[l.Attention].rope
	switch {
	case c.paged != nil:
		cache := c.paged.layer(i)
		q = l.qkv.RotatePaged(g, q, k, v, rope, cache)
		k, v = g.ReadPages(cache)
		return q, k, v
	case c.cache == nil:
		return l.qkv.Rotate(g, q, k, v, rope)
	}
	return l.qkv.RotateCached(g, q, k, v, rope, c.cache.layer(i))
}
