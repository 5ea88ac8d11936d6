package nn

import (
	"math"
	"testing"

	"patchwork/engine"
	"patchwork/engine/cpu"
	"patchwork/internal/require"
	"patchwork/shaders"
)

const meanRows, meanChannels, meanPixels, meanOutputs = 6, 3, 4, 10

// normalizedWithMeans is fc(append_means(ln(x), x)) in float64, with the tensors by name.
func normalizedWithMeans(v map[string][]float64) []float64 {
	const cols, eps = meanChannels * meanPixels, 1e-2
	y := make([]float64, meanRows*meanOutputs)
	for r := range meanRows {
		x := v["x"][r*cols:][:cols]
		var mean, variance float64
		for _, a := range x {
			mean += a / cols
		}
		for _, a := range x {
			variance += (a - mean) * (a - mean) / cols
		}
		in := make([]float64, cols+meanChannels)
		for i, a := range x {
			in[i] = (a-mean)/math.Sqrt(variance+eps)*v["ln.weight"][i] + v["ln.bias"][i]
			in[cols+i/meanPixels] += a / meanPixels
		}
		for o := range meanOutputs {
			y[r*meanOutputs+o] = v["fc.bias"][o]
			for i, a := range in {
				y[r*meanOutputs+o] += a * v["fc.weight"][o*len(in)+i]
			}
		}
	}
	return y
}

// TestAppendMeans compares a LayerNorm, AppendMeans and a Linear, which has an odd number of inputs,
// with float64 and the gradients with central differences, in every type of storage.
func TestAppendMeans(t *testing.T) {
	for _, c := range []struct {
		name     string
		dtype    shaders.Type
		halfOnly bool
	}{{name: "f32"}, {name: "bf16", dtype: shaders.BF16}, {name: "f16", dtype: shaders.F16}, {name: "bf16 only", dtype: shaders.BF16, halfOnly: true}} {
		t.Run(c.name, func(t *testing.T) {
			dev := cpu.Open(0)
			defer dev.Close()
			const cols = meanChannels * meanPixels
			s := NewParams()
			d := Declarer{Params: s, Group: "embedder"}
			ln, fc := d.LayerNorm("ln", cols, 1e-2), d.Linear("fc", cols+meanChannels, meanOutputs, true, Init{Std: 0.5})
			for _, p := range []*Param{ln.Weight, ln.Bias, fc.Bias} {
				p.Init.Std = 0.3
			}
			s.Seal()
			switch {
			case c.halfOnly:
				s.StoreHalf(c.dtype)
			case c.dtype.Half():
				s.AddHalfCopy(c.dtype)
			}
			buffer := func(name string, n int) *engine.Buffer { return engine.NewBuffer(name, int64(4*n)) }
			x, dy := buffer("x", meanRows*cols), buffer("dy", meanRows*meanOutputs)
			buffers := []*engine.Buffer{x, dy, s.Weights}
			if !c.halfOnly {
				buffers = append(buffers, s.Grads)
			}
			if s.Half != nil {
				buffers = append(buffers, s.Half)
			}
			memories, err := engine.Allocate(dev, "test", buffers...)
			require.NoError(t, err)
			defer engine.Free(memories)
			require.NoError(t, s.Initialise(dev, 1))
			require.NoError(t, s.SyncHalf(t.Context(), dev))
			random := &Param{Name: "values", Init: Init{Mean: 0.4, Std: 1}}
			values, incoming := random.Draw(1, meanRows*cols), random.Draw(2, meanRows*meanOutputs)
			require.NoError(t, engine.Upload(dev, x.View(), values))
			require.NoError(t, engine.Upload(dev, dy.View(), incoming))

			var out *Tensor
			var dx engine.View
			program, err := Record("means", Options{Params: s, Train: !c.halfOnly, Type: c.dtype}, func(g *Graph) {
				patches := g.Variable(x, meanRows, cols)
				out = g.Keep(fc.Forward(g, g.AppendMeans(ln.ForwardFloat32(g, patches), patches, meanChannels)))
				g.SetGrad(out, dy.View())
				g.KeepGrad(patches)
				g.Backward()
				dx = g.Grad(patches)
			})
			require.NoError(t, err)
			plan, err := engine.NewPlan(program, 0)
			require.NoError(t, err)
			exe, err := dev.Compile(plan, nil)
			require.NoError(t, err)
			defer exe.Free()
			require.NoError(t, exe.Run(t.Context(), &[shaders.StepWords]uint32{}))

			tensors := map[string][]float64{"x": wide(values)}
			for _, p := range s.All() {
				tensors[p.Name] = widened(t, dev, s, s.Weights, p)
			}
			y := make([]float32, meanRows*meanOutputs)
			require.NoError(t, engine.DownloadTempFloats(dev, exe, out.View(), y))
			// Sums of 15 terms of size 1 in float32: nothing here is rounded to 16 bits but the
			// weights, which are read back.
			closeTo(t, "y", wide(y), normalizedWithMeans(tensors), 2e-6)
			if c.halfOnly {
				return
			}
			gradients := map[string][]float64{}
			got := make([]float32, meanRows*cols)
			require.NoError(t, engine.DownloadTempFloats(dev, exe, dx, got))
			gradients["x"] = wide(got)
			for _, p := range s.All() {
				gradients[p.Name] = widened(t, dev, s, s.Grads, p)
			}
			for name, got := range gradients {
				closeTo(t, "gradient of "+name, got, centralDifferences(tensors, name, wide(incoming)), 5e-6)
			}
		})
	}
}

// centralDifferences is the gradient of the sum of normalizedWithMeans times dy.
func centralDifferences(tensors map[string][]float64, name string, dy []float64) []float64 {
	loss := func() (sum float64) {
		for i, y := range normalizedWithMeans(tensors) {
			sum += y * dy[i]
		}
		return sum
	}
	out := make([]float64, len(tensors[name]))
	for i, v := range tensors[name] {
		const h = 1e-5
		tensors[name][i] = v + h
		up := loss()
		tensors[name][i] = v - h
		out[i] = (up - loss()) / (2 * h)
		tensors[name][i] = v
	}
	return out
}
