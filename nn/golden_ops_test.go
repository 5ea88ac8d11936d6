package nn

import (
	"math"
	"slices"

	"patchwork/engine"
	"patchwork/internal/require"
	"patchwork/shaders"
)

// goldenOps calls our operator for each golden one.
var goldenOps = map[string]func(r *goldenRun){
	"matmul": goldenMatMul,
	"linear": func(r *goldenRun) { r.backward(r.g.Linear(r.in["x"], r.in["w"], r.in["b"], nil)) },
	// A sum and a bias are Linear's, with the identity as weight, which changes no bit.
	"add":  func(r *goldenRun) { r.backward(r.g.Linear(r.in["a"], r.identity(r.in["a"].Cols()), nil, r.in["b"])) },
	"bias": func(r *goldenRun) { r.backward(r.g.Linear(r.in["x"], r.identity(r.in["b"].Size()), r.in["b"], nil)) },
	"layernorm": func(r *goldenRun) {
		y := r.g.LayerNorm(r.in["x"], r.in["w"], r.in["b"], float32(r.float("eps")))
		last := r.g.Program.Dispatches[len(r.g.Program.Dispatches)-1]
		r.output["mean"], r.output["rstd"] = last.Views[4], last.Views[5]
		r.backward(y)
	},
	"rmsnorm": func(r *goldenRun) {
		y := r.g.RMSNorm(r.in["x"], r.in["w"], float32(r.float("eps")))
		r.output["rstd"] = r.g.Program.Dispatches[len(r.g.Program.Dispatches)-1].Views[3]
		r.backward(y)
	},
	"softmax": func(r *goldenRun) {
		x, y, dx := r.in["x"], r.newOutput("y", r.in["x"].Size()), r.newOutput("dx", r.in["x"].Size())
		rows, cols := shaders.N(x.Size()/x.Cols()), uint32(x.Cols())
		r.g.record(shaders.Softmax, shaders.SoftmaxParams{Rows: rows, Cols: cols}, x.View(), r.in["mask"].View(), y)
		r.g.record(shaders.SoftmaxBackward, shaders.SoftmaxBackwardParams{Rows: rows, Cols: cols}, y, r.in["dy"].View(), dx)
	},
	"swiglu": func(r *goldenRun) { r.backward(r.g.SwiGLU(r.in["gate"], r.in["up"], SiLU)) },
	"gelu_tanh": func(r *goldenRun) {
		x, n := r.in["x"].View(), r.in["x"].Size()
		r.g.record(shaders.GELU, shaders.GELUParams{N: shaders.N(n)}, x, r.newOutput("y", n))
		r.g.record(shaders.GELUBackward, shaders.GELUBackwardParams{N: shaders.N(n)}, x, r.in["dy"].View(), r.newOutput("dx", n))
	},
	"rope": func(r *goldenRun) {
		n := int(slices.Max(r.ints["positions"])) + 1
		d := r.in["x"].Cols()
		table := engine.NewBuffer("table", int64(4*n*d))
		_, err := engine.Allocate(r.dev, "table", table)
		require.NoError(r.t, err)
		require.NoError(r.t, engine.Upload(r.dev, table.View(), RoPETable(n, RoPEFrequencies(d, r.float("theta")), 1)))
		r.backward(r.g.RoPE(r.in["x"], RoPE{Input(table, n, d), r.in["positions"]}))
	},
	"attention": func(r *goldenRun) {
		y := r.g.Attention(r.in["q"], r.in["k"], r.in["v"], r.int32s("intervals", r.intervals()), 1/math.Sqrt(float64(r.in["q"].Cols())))
		r.output["lse"] = r.g.Program.Dispatches[len(r.g.Program.Dispatches)-1].Views[5]
		r.backward(y)
	},
	"cross_entropy": goldenCrossEntropy,
	"embedding": func(r *goldenRun) {
		r.backward(r.g.Embed(r.tokenIndex(-1), r.in["table"], nil, 1))
	},
	"image_scatter": func(r *goldenRun) {
		features := r.in["features"]
		y := r.g.Embed(r.tokenIndex(int32(r.int("image_token_id"))), r.in["table"], features, 1)
		if features.Size() == 0 {
			r.output["dfeatures"] = r.in["dy"].View() // nothing to compare
		}
		r.backward(y)
	},
	"patchify": func(r *goldenRun) { r.backward(r.g.Patchify(r.in["x"], r.int("patch"))) },
	"position_add": func(r *goldenRun) {
		nw := r.int("nw")
		r.backward(r.g.PositionAdd(r.in["x"], r.in["y_pos"], r.in["x_pos"], r.in["x"].Shape[1]/nw, nw))
	},
	"adamw": func(r *goldenRun) {
		o := AdamW{Beta1: r.float("beta1"), Beta2: r.float("beta2"), Eps: r.float("eps")}
		const slot = 8
		o.Set(&r.step, slot, r.float("lr"), r.int("step"))
		clip := r.g.New("clip", 2)
		r.g.fill(clip.View(), 2, 1)
		r.g.record(shaders.AdamW, shaders.AdamWParams{
			N: uint32(r.in["p"].Size()), Beta1: float32(o.Beta1), Beta2: float32(o.Beta2), Eps: float32(o.Eps),
			WeightDecay: float32(r.float("weight_decay")), Slot: slot,
		}, clip.View(), r.in["g"].View(), r.in["p"].View(), r.in["m"].View(), r.in["v"].View(), engine.View{})
		for _, n := range []string{"p", "m", "v"} {
			r.output[n+"_new"] = r.in[n].View()
		}
	},
	"global_norm_clip": func(r *goldenRun) {
		squares, clip := r.g.New("squares", 1), r.g.New("clip", 2)
		r.g.fill(squares.View(), 1, 0)
		for _, n := range r.Inputs {
			r.g.record(shaders.SumSquares, shaders.SumParams{N: shaders.N(r.in[n].Size()), Accumulate: 1}, r.in[n].View(), squares.View())
		}
		r.g.record(shaders.ClipFactor, shaders.ClipFactorParams{MaxNorm: float32(r.float("max_norm"))}, squares.View(), clip.View())
		r.output["norm"], r.output["factor"] = clip.View().Slice(0, 4), clip.View().Slice(4, 4)
		factor := r.g.New("factor", 1)
		r.g.record(shaders.GatherRows, shaders.GatherRowsParams{Rows: shaders.N(1), Cols: 1}, r.int32s("index", []int32{1}).View(), clip.View(), factor.View())
		for _, n := range r.Inputs {
			y := r.g.New(n, r.in[n].Size())
			r.g.record(shaders.MatMul, shaders.MatMulParams{
				M: shaders.N(y.Size()), N: 1, K: shaders.N(1), LDA: 1, LDB: 1, LDC: 1, Batch: 1, Alpha: 1,
			}, r.in[n].View(), factor.View(), engine.View{}, engine.View{}, y.View())
			r.output[n+"_new"] = y.View()
		}
	},
}

// goldenMatMul is c = op(a)·op(b) and its gradients, in which a transposed operand is that
// of the transposed product.
func goldenMatMul(r *goldenRun) {
	transA, transB := r.bool("transpose_a"), r.bool("transpose_b")
	a, b, dy := operand{view: r.in["a"].View()}, operand{view: r.in["b"].View()}, operand{view: r.in["dy"].View()}
	m, k, n, batch := r.int("m"), r.int("k"), r.int("n"), max(1, r.int("batch"))
	trans := func(o operand, yes bool) operand { o.trans = yes; return o }
	matmul := func(output string, m, n, k int, a, b operand) {
		r.g.matmul(matmulShape{batch: batch, m: shaders.N(m), n: n, k: shaders.N(k)}, a, b, r.newOutput(output, batch*m*n))
	}
	matmul("y", m, n, k, trans(a, transA), trans(b, transB))
	if transA { // [K,M] = op(b)·dyᵀ
		matmul("da", k, m, n, trans(b, transB), trans(dy, true))
	} else { // [M,K] = dy·op(b)ᵀ
		matmul("da", m, k, n, dy, trans(b, !transB))
	}
	if transB { // [N,K] = dyᵀ·op(a)
		matmul("db", n, k, m, trans(dy, true), trans(a, transA))
	} else { // [K,N] = op(a)ᵀ·dy
		matmul("db", k, n, m, trans(a, !transA), dy)
	}
}

// newOutput makes a tensor of n elements that is compared with the golden one.
func (r *goldenRun) newOutput(name string, n int) engine.View {
	r.output[name] = r.g.New(name, n).View()
	return r.output[name]
}

// identity is the identity matrix [n,n].
func (r *goldenRun) identity(n int) *Tensor {
	values := make([]float32, n*n)
	for i := range n {
		values[i*n+i] = 1
	}
	buffer := engine.NewBuffer("identity", int64(4*n*n))
	_, err := engine.Allocate(r.dev, "identity", buffer)
	require.NoError(r.t, err)
	require.NoError(r.t, engine.Upload(r.dev, buffer.View(), values))
	return Input(buffer, n, n)
}

// goldenCrossEntropy runs the loss three times: for the values, the gradient of
// the sum and that of the mean.
func goldenCrossEntropy(r *goldenRun) {
	logits, n, v := r.in["logits"], r.in["targets"].Size(), r.in["logits"].Cols()
	count := 0
	for _, id := range r.ints["targets"] {
		if id != shaders.Ignore {
			count++
		}
	}
	run := func(grad uint32, scale float32) (out, nll *Tensor) {
		out, nll = r.g.New("out", n, v), r.g.New("nll", n)
		r.g.copy(logits.View(), out.View(), n*v)
		r.g.record(shaders.CrossEntropy, shaders.CrossEntropyParams{Rows: shaders.N(n), Cols: uint32(v), LD: uint32(v), Grad: grad, Scale: scale},
			r.in["targets"].View(), out.View(), nll.View())
		return out, nll
	}
	_, nll := run(0, 1)
	sum := r.g.New("sum", 1)
	r.g.record(shaders.Sum, shaders.SumParams{N: shaders.N(n)}, nll.View(), sum.View())
	dsum, _ := run(1, 1)
	dmean, _ := run(1, 1/float32(max(count, 1)))
	r.output["nll"], r.output["loss_sum"] = nll.View(), sum.View()
	r.output["dlogits_sum"], r.output["dlogits"] = dsum.View(), dmean.View()
}

// intervals are the keys visible to each query, computed from the definition in the golden
// index.
func (r *goldenRun) intervals() []int32 {
	q, k := r.in["q"].Shape, r.in["k"].Shape
	batch, tq, tk := q[0], q[1], k[1]
	mode := r.Params["mode"].(string)
	var out []int32
	for b := range batch {
		segments, images := r.ints["segment_ids"][b*tk:][:tk], r.ints["image_ids"][b*tk:][:tk]
		for t := range tq {
			i := tk - tq + t
			lo, hi, seen := tk, 0, 0
			for j := range tk {
				ok := j <= i
				if mode != "seed" {
					ok = ok && segments[i] == segments[j]
				}
				if mode == "document_bidirectional_image" {
					ok = ok || images[i] >= 0 && images[i] == images[j]
				}
				if ok && segments[i] >= 0 && segments[j] >= 0 {
					lo, hi, seen = min(lo, j), max(hi, j+1), seen+1
				}
			}
			if seen == 0 {
				lo, hi = 0, 0
			}
			if hi-lo != seen {
				r.t.Fatalf("query %d has %d visible keys in [%d,%d)", t, seen, lo, hi)
			}
			out = append(out, 0, 0, int32(lo), int32(hi))
		}
	}
	return out
}

// tokenIndex sorts the case's ids, without the image token's.
func (r *goldenRun) tokenIndex(image int32) TokenIndex {
	ids := r.ints["ids"]
	var slots, order, starts, segments, slotTokens []int32
	for t, id := range ids {
		if id == image {
			slots = append(slots, int32(len(slotTokens)))
			slotTokens = append(slotTokens, int32(t))
			continue
		}
		slots = append(slots, -1)
		order = append(order, int32(t))
	}
	slices.SortStableFunc(order, func(a, b int32) int { return int(ids[a] - ids[b]) })
	for i, t := range order {
		if i == 0 || ids[order[i-1]] != ids[t] {
			starts, segments = append(starts, int32(i)), append(segments, ids[t])
		}
	}
	runs := len(segments)
	starts = append(starts, int32(len(order)))
	const slot = 5
	r.step[slot] = uint32(runs)
	return TokenIndex{
		IDs: r.in["ids"], Slots: r.int32s("slots", slots), Order: r.int32s("order", order), Starts: r.int32s("starts", starts),
		SegmentIDs: r.int32s("segments", segments), SegmentsSlot: slot, SlotTokens: r.int32s("slot tokens", slotTokens),
	}
}
