package nn

// NormQKV is the part of a decoder layer before attention: RMSNorm, the projections to
// queries, keys and values, Qwen3's QK-norm, and RoPE.
type NormQKV struct {
	Norm    RMSNorm
	Q, K, V Linear // without a V the values are what K computes, before its norm
	// QNorm, KNorm and VNorm are over a head; nil for none. VNorm has no weight, and needs the other
	// two.
	QNorm, KNorm, VNorm *RMSNorm

	Heads, KVHeads, HeadDim int
}

// Forward takes the hidden states x [B·T,C] to queries q [B,T,H,D], keys k [B,T,K,D]
// and values v [B,T,K,D]; the positions of rope are [B,T]. The projections are one
// matmul where their weights are contiguous. With QK-norm the values are a
// separate matmul, as SplitQKVRoPE requires in training.
func (l NormQKV) Forward(g *Graph, x *Tensor, rope RoPE) (q, k, v *Tensor) {
	h, layout := l.Norm.Forward(g, x), l.layout(g, rope)
	if l.V.Weight == nil {
		return l.forwardSeparate(g, h, layout)
	}
	if l.QNorm == nil {
		if qkv, ok := (fusedLinear{l.Q, l.K, l.V}).forward(g, h); ok { // [B·T, (H+2K)·D]
			return g.SplitQKVRoPE(qkv, layout)
		}
	} else if qk, ok := (fusedLinear{l.Q, l.K}).forward(g, h); ok { // [B·T, (H+K)·D]
		q, k, _ = g.SplitQKVRoPE(qk, layout)
		return q, k, l.normValues(g, l.V.Forward(g, h).Reshape(layout.B, layout.T, layout.K, layout.D))
	}
	return l.forwardSeparate(g, h, layout)
}

// ForwardCached is Forward with a key/value cache: it writes the keys and values after those
// in the cache, and returns the queries and the whole cache. The projections are one matmul
// where their weights are contiguous, and one kernel with the norm for the few rows of
// decoding. Where the cache has another type than the recording, keys and values are written
// by a further kernel, and floats are converted before they are returned.
func (l NormQKV) ForwardCached(g *Graph, x *Tensor, rope RoPE, cache KVCache) (q, keys, values *Tensor) {
	layout := l.layout(g, rope)
	if w, b, ok := l.fused(g); ok {
		qkv := l.Norm.linear(g, x, w, b) // [B·T, (H+2K)·D]
		if cache.Keys.storedAs() == g.Type {
			return g.SplitQKVRoPEInto(qkv, layout, cache), cache.Keys, cache.Values
		}
		var k, v *Tensor
		q, k, v = g.SplitQKVRoPE(qkv, layout)
		g.appendKV(cache, k, v, x.rows())
	} else {
		var k, v *Tensor
		q, k, v = l.forwardSeparate(g, l.Norm.Forward(g, x), layout)
		g.appendKV(cache, k, v, x.rows())
	}
	keys, values = g.readCache(cache)
	return q, keys, values
}

// forwardSeparate computes every projection, norm and rotation in a separate kernel.
func (l NormQKV) forwardSeparate(g *Graph, h *Tensor, s QKVLayout) (q, k, v *Tensor) {
	q, k, v = l.project(g, h)
	return l.rotate(g, q, k, v, s)
}

// Project is RMSNorm and the projections alone: the hidden states x [N,C] to queries [N,H·D], keys
// and values [N,K·D].
func (l NormQKV) Project(g *Graph, x *Tensor) (q, k, v *Tensor) {
	return l.project(g, l.Norm.Forward(g, x))
}

func (l NormQKV) project(g *Graph, h *Tensor) (q, k, v *Tensor) {
	q, k = l.Q.Forward(g, h), l.K.Forward(g, h)
	if l.V.Weight == nil {
		return q, k, k
	}
	return q, k, l.V.Forward(g, h)
}

// Rotate is Forward after the projections: the norms of heads, and RoPE.
func (l NormQKV) Rotate(g *Graph, q, k, v *Tensor, rope RoPE) (queries, keys, values *Tensor) {
	return l.rotate(g, q, k, v, l.layout(g, rope))
}

// RotateCached is ForwardCached after the projections.
func (l NormQKV) RotateCached(g *Graph, q, k, v *Tensor, rope RoPE, cache KVCache) (queries, keys, values *Tensor) {
	rows := q.rows()
	q, k, v = l.Rotate(g, q, k, v, rope)
	g.appendKV(cache, k, v, rows)
	keys, values = g.readCache(cache)
	return q, keys, values
}

func (l NormQKV) rotate(g *Graph, q, k, v *Tensor, s QKVLayout) (queries, keys, values *Tensor) {
	q, k = q.Reshape(s.B, s.T, s.H, s.D), k.Reshape(s.B, s.T, s.K, s.D)
	v = l.normValues(g, v.Reshape(s.B, s.T, s.K, s.D))
	if l.QNorm != nil {
		q, k = l.QNorm.Forward(g, q), l.KNorm.Forward(g, k)
	}
	return g.RoPE(q, s.RoPE), g.RoPE(k, s.RoPE), v
}

// fused returns all three projections as one, if there are three, contiguous in memory.
func (l NormQKV) fused(g *Graph) (w, b *Tensor, ok bool) {
	if l.V.Weight == nil {
		return nil, nil, false
	}
	return fusedLinear{l.Q, l.K, l.V}.params(g)
}

// normValues is VNorm of v, if there is one.
func (l NormQKV) normValues(g *Graph, v *Tensor) *Tensor {
	if l.VNorm == nil {
		return v
	}
	return l.VNorm.Forward(g, v)
}

func (l NormQKV) layout(g *Graph, rope RoPE) QKVLayout {
	check(len(rope.Positions.Shape) == 2, "queries, keys and values", "positions [B,T]", rope.Positions)
	s := QKVLayout{
		B: rope.Positions.Shape[0], T: rope.Positions.Shape[1], H: l.Heads, K: l.KVHeads, D: l.HeadDim, RoPE: rope,
	}
	if l.QNorm != nil {
		s.QNorm, s.KNorm, s.Eps = g.Param(l.QNorm.Weight), g.Param(l.KNorm.Weight), l.QNorm.Eps
		s.VNorm = l.VNorm != nil
	}
	return s
}
