//go:build cgo && ((linux && (amd64 || arm64)) || (windows && amd64))

package vulkan

import (
	"math"
	"math/rand/v2"
	"testing"

	"patchwork/engine"
	"patchwork/internal/require"
	"patchwork/shaders"
)

// TestLongAttention: 8192 tokens on the software device, which ends a shader's loops
// after 65535 iterations in all. The first keys and the nearest ones are visible to all
// queries, every earlier key to the last queries: no tile has more work than theirs. Some
// rows of y and dq and some keys' dk and dv are compared with float64.
func TestLongAttention(t *testing.T) {
	const tokens, d, scale = 8192, 8, 0.5
	dev := openSoftware(t, false)
	defer dev.Close()
	random := rand.New(rand.NewPCG(1, 2))
	values := func() []float32 {
		x := make([]float32, tokens*d)
		for i := range x {
			x[i] = float32(random.NormFloat64())
		}
		return x
	}
	q, k, v, dy := values(), values(), values(), values()
	intervals := make([]int32, 4*tokens)
	for i := range tokens {
		visible := []int32{0, 32, int32(max(0, i-63)), int32(i + 1)}
		if i >= tokens-64 {
			visible = []int32{0, 0, 0, int32(i + 1)}
		}
		copy(intervals[4*i:], visible)
	}
	visible := func(query, key int) bool {
		s := intervals[4*query:]
		return key >= int(s[0]) && key < int(s[1]) || key >= int(s[2]) && key < int(s[3])
	}
	p := shaders.AttentionParams{Batch: 1, Queries: tokens, Keys: tokens, Heads: 1, KVHeads: 1, HeadDim: d, Scale: scale}
	const floats = 4 * tokens * d
	buffers := map[string]*engine.Buffer{}
	var all []*engine.Buffer
	view := func(name string, bytes int64) engine.View {
		if buffers[name] == nil {
			buffers[name] = engine.NewBuffer(name, bytes)
			all = append(all, buffers[name])
		}
		return buffers[name].View()
	}
	in := []engine.View{view("q", floats), view("k", floats), view("v", floats), view("intervals", 16*tokens), view("y", floats), view("lse", 4*tokens)}
	program := engine.NewProgram("attention")
	program.Dispatch(shaders.Attention, p, in...)
	program.Dispatch(shaders.AttentionBackward, p, append(in, view("dy", floats), view("dq", floats), view("dk", floats), view("dv", floats))...)
	plan, err := engine.NewPlan(program, 0)
	require.NoError(t, err)
	memories, err := engine.Allocate(dev, "a test", all...)
	require.NoError(t, err)
	defer engine.Free(memories)
	for name, x := range map[string][]float32{"q": q, "k": k, "v": v, "dy": dy} {
		require.NoError(t, engine.Upload(dev, buffers[name].View(), x))
	}
	require.NoError(t, engine.Upload(dev, buffers["intervals"].View(), intervals))
	run, err := dev.Compile(plan, nil)
	require.NoError(t, err)
	defer run.Free()
	require.NoError(t, run.Run(t.Context(), new([shaders.StepWords]uint32)))

	dots := func(a, b []float32, i, j int) (sum float64) {
		for c := range d {
			sum += float64(a[i*d+c]) * float64(b[j*d+c])
		}
		return sum
	}
	// Of every query log Σ exp(scores), and Σ weights·(dy·v).
	lse, delta := make([]float64, tokens), make([]float64, tokens)
	for i := range tokens {
		var sum, weighted float64
		for j := range tokens {
			if !visible(i, j) {
				continue
			}
			e := math.Exp(scale * dots(q, k, i, j)) // a few units: float64 needs no row max
			sum += e
			weighted += e * dots(dy, v, i, j)
		}
		lse[i], delta[i] = math.Log(sum), weighted/sum
	}
	rows := map[string][]float64{} // of d columns
	compare := func(name string, row int) {
		t.Helper()
		got := make([]float32, d)
		require.NoError(t, engine.Download(dev, buffers[name].View().Slice(int64(4*row*d), 4*d), got))
		for c, want := range rows[name] {
			// A thousand times the rounding of a sum of this size.
			if diff := math.Abs(float64(got[c]) - want); !(diff <= 1e-4*(1+math.Abs(want))) {
				t.Errorf("%s[%d,%d] = %g, want %g", name, row, c, got[c], want)
			}
		}
	}
	add := func(name string, factor float64, x []float32, row int) {
		for c := range d {
			rows[name][c] += factor * float64(x[row*d+c])
		}
	}
	for _, at := range []int{0, 31, 32, 1000, 4095, tokens - 64, tokens - 1} {
		for _, name := range []string{"y", "dq", "dk", "dv"} {
			rows[name] = make([]float64, d)
		}
		for i := range tokens {
			if visible(at, i) {
				w := math.Exp(scale*dots(q, k, at, i) - lse[at])
				add("y", w, v, i)
				add("dq", scale*w*(dots(dy, v, at, i)-delta[at]), k, i)
			}
			if visible(i, at) {
				w := math.Exp(scale*dots(q, k, i, at) - lse[i])
				add("dv", w, dy, i)
				add("dk", scale*w*(dots(dy, v, i, at)-delta[i]), q, i)
			}
		}
		for _, name := range []string{"y", "dq", "dk", "dv"} {
			compare(name, at)
		}
	}
}
