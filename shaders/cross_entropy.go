package shaders

import (
	"math"
	"slices"

	"patchwork/shaders/simd"
)

// CrossEntropyParams are the parameters of CrossEntropy.
type CrossEntropyParams struct {
	Rows      Count
	Cols      uint32  // V
	LD        uint32  `kernel:"layout"` // elements from one row of logits to the next
	Base      uint32  `kernel:"layout"` // first entry of targets and nll to use
	Grad      uint32  // 1: replace the logits by their gradient
	Scale     float32 // of the gradient
	ScaleSlot uint32  `kernel:"layout"` // step block entry (f32) that multiplies Scale; 0 = none
	// Cap is the soft cap: the logits are Cap·tanh(logits/Cap); 0 = none.
	Cap float32
}

// CrossEntropy computes nll[Base+r] = log Σ exp(logits[r]) - logits[r,target] for logits
// [Rows,LD], of which V columns are used, and targets[Base+r], 0 for the target -100, and
// with Grad replaces the logits by the gradient of the scaled sum of the nll. With a soft cap both are
// of the capped logits, and the gradient is that of the logits before it.
var CrossEntropy = Declare(Decl[CrossEntropyParams]{
	Name: "cross_entropy",
	Bindings: []Binding{
		{Name: "targets", Type: I32, Access: Read},
		{Name: "logits", Access: ReadWrite},
		{Name: "nll", Access: ReadWrite},
	},
	Include:  []string{"exp", "tanh", "sum", "group"},
	Variants: rowReduction(func(p CrossEntropyParams) uint32 { return p.Cols }, DeclPass[CrossEntropyParams]{Grid: func(p CrossEntropyParams) [3]uint32 { return gridGroups(int(p.Rows.Max)) }}),
	Axes: alongCount(func(p *CrossEntropyParams) *Count { return &p.Rows }, func(p CrossEntropyParams) map[string]int64 {
		return map[string]int64{"logits": rowBytes(p.LD)}
	}, func(p *CrossEntropyParams, first uint32) { p.Base += first }),
	CPU: func(h Host, p CrossEntropyParams, b Buffers) {
		targets, logits, nll := b.I32(0), b.F32(1), b.F32(2)
		cols, base, scale := int(p.Cols), int(p.Base), p.Scale
		if p.ScaleSlot != 0 {
			scale *= math.Float32frombits(h.Step()[p.ScaleSlot])
		}
		h.Parallel(p.Rows.At(h.Step()), rowGrain(4*cols), func(lo, hi int) {
			for r := lo; r < hi; r++ {
				row, target := logits[r*int(p.LD):][:cols], int(targets[base+r])
				if p.Cap != 0 && target >= 0 {
					y, release := h.Scratch(cols)
					nll[base+r] = cappedCrossEntropyRow(row, y, target, p.Grad != 0, scale, p.Cap)
					release()
					continue
				}
				nll[base+r] = crossEntropyRow(row, target, p.Grad != 0, scale)
			}
		})
	},
	Reference: func(p CrossEntropyParams, b []Array) {
		targets, logits, nll, cols := b[0].I[p.Base:], b[1].F, b[2].F[p.Base:], int(p.Cols)
		scale := float64(p.Scale)
		if p.ScaleSlot != 0 {
			scale *= stepFloat(b[3], p.ScaleSlot)
		}
		for r := range int(p.Rows.Max) {
			x, hit := logits[r*int(p.LD):][:cols], int(targets[r])
			y := slices.Clone(x)
			for i := range y {
				y[i], _ = softCapAt(float64(p.Cap), x[i])
			}
			rowMax, sum := slices.Max(y), 0.0
			for _, v := range y {
				sum += math.Exp(v - rowMax)
			}
			nll[r] = 0
			if hit >= 0 {
				nll[r] = math.Log(sum) + rowMax - y[hit]
			}
			if p.Grad == 0 {
				continue
			}
			for i, v := range y {
				_, slope := softCapAt(float64(p.Cap), x[i])
				x[i] = scale * math.Exp(v-rowMax) / sum
				if i == hit {
					x[i] -= scale
				}
				x[i] *= slope
				if hit < 0 {
					x[i] = 0
				}
			}
		}
	},
	Cost: func(p CrossEntropyParams) Cost {
		n := float64(p.Rows.Max) * float64(p.Cols)
		return Cost{Flops: (20 + 20*float64(p.Grad)) * n, Bytes: (8 + 8*float64(p.Grad)) * n}
	},
	Inputs: func(p CrossEntropyParams, n []int) map[string]Input {
		return map[string]Input{"targets": integers(n[0], 0, int(p.Cols))}
	},
	Cases: func() []Case {
		call := func(rows Count, cols, ld int, scale float64, grad uint32, factor float32) Case {
			n := int(rows.Max)
			targets := integers(n+2, 0, cols)
			for i := 2; i < n+2; i += 3 {
				targets.I[i] = Ignore
			}
			c := Case{
				Params: CrossEntropyParams{Rows: rows, Cols: uint32(cols), LD: uint32(ld), Base: 2, Grad: grad, Scale: 0.5},
				Inputs: []Input{targets, {N: n * ld, Scale: scale}, {N: n + 2, Scale: 1}},
				// exp and log are within a few units in the last place; the gradient at
				// the target is a difference from Scale.
				Atol: 1e-6 + 3e-7*scale, Rtol: 5e-6,
			}
			if factor != 0 {
				p := c.Params.(CrossEntropyParams)
				p.ScaleSlot = 9
				c.Params, c.Step = p, withWord(nil, 9, math.Float32bits(factor))
			}
			return c
		}
		apart := call(N(9), 70, 70, 300, 1, 0).named("rows far apart")
		apart.Inputs[1] = farApart(9, 70)
		spike := call(N(40), 40, 40, 300, 1, 0).named("one large logit in a row")
		spike.Inputs[1] = spikes(40)
		// The logarithm's ends: sums of two exponentials on both sides of √2.
		ends := call(N(64), 2, 2, 0, 1, 0).named("sums around √2")
		ends.Inputs[1] = Input{F: make([]float32, 2*64)}
		for i := range 64 {
			ends.Inputs[1].F[2*i+1] = float32(math.Log(0.4 + 0.0005*float64(i)))
		}
		capped := func(rows, cols int, scale float64, grad uint32, limit float32) Case {
			c := call(N(rows), cols, cols+3, scale, grad, 0)
			p := c.Params.(CrossEntropyParams)
			p.Cap = limit
			c.Params = p
			c.Atol += 3e-7 * float64(limit) // tanh has an absolute error of a few units of 1
			return c.named("%dx%d of size %g, capped at %g, gradient %d", rows, cols, scale, limit, grad)
		}
		return append(overRows(func(rows Count, cols int) Case { return call(rows, cols, cols, 2, 1, 0.25) }), apart,
			capped(9, 130, 5, 1, 3), capped(5, 300, 40, 1, 30), capped(4, 1500, 20, 0, 30), capped(3, 33, 1000, 1, 30), capped(2, 70, 1, 0, 0.5), spike, ends,
			call(N(7), 300, 300, 2, 0, 0).named("without gradient"), call(N(2), 1500, 1500, 2, 0, 0).named("long rows without gradient"), call(N(5), 33, 36, 2, 1, 0).named("gaps between rows"),
			call(N(7), 300, 300, 80, 1, 0).named("large logits"), call(N(3), 49153, 49153, 3, 1, 0.125).named("a vocabulary"))
	},
})

// Ignore is the target that does not count.
const Ignore = -100

func crossEntropyRow(x []float32, target int, grad bool, scale float32) float32 {
	if target < 0 {
		if grad {
			clear(x)
		}
		return 0
	}
	most, at := simd.Max(x), x[target]
	if !grad {
		return float32(math.Log(expSum(x, most))) + most - at
	}
	sum := simd.ExpSum(x, x, most)
	simd.Scale(x, x, float32(float64(scale)/sum))
	x[target] -= scale
	return float32(math.Log(sum)) + most - at
}

// cappedCrossEntropyRow is crossEntropyRow of logits with a soft cap; y is working memory for as
// many.
func cappedCrossEntropyRow(x, y []float32, target int, grad bool, scale, limit float32) float32 {
	softCapRow(y, x, limit)
	most, at := simd.Max(y), y[target]
	if !grad {
		return float32(math.Log(simd.ExpSum(y, y, most))) + most - at
	}
	sum := simd.ExpSum(x, y, most)
	simd.Scale(x, x, float32(float64(scale)/sum))
	x[target] -= scale
	for i, v := range y {
		t := v / limit
		x[i] *= 1 - t*t
	}
	return float32(math.Log(sum)) + most - at
}

// expSum is Σ exp(x - shift); x is not changed.
func expSum(x []float32, shift float32) (sum float64) {
	y := make([]float32, min(len(x), 1024))
	for lo := 0; lo < len(x); lo += len(y) {
		n := min(len(y), len(x)-lo)
		sum += simd.ExpSum(y[:n], x[lo:lo+n], shift)
	}
	return sum
}
