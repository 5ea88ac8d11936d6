package vlm

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"path/filepath"
	"testing"

	"patchwork/engine"
	"patchwork/engine/enginetest/devices"
	"patchwork/internal/golden"
	"patchwork/internal/require"
	"patchwork/nn"
	"patchwork/nn/safetensors"
	"patchwork/vlm/packing"
)

// TestGoldenAttentionWeights compares every attention weight of the tiny models, in every layer
// and attention mode, with a softmax in float64 that is computed from the golden hidden states.
func TestGoldenAttentionWeights(t *testing.T) {
	for _, family := range []string{"tiny_llama", "tiny_qwen3", "tiny_qwen3_untied"} {
		for _, dir := range golden.Dirs(t, family) {
			var c goldenConfig
			golden.JSON(t, filepath.Join(dir, "config.json"), &c)
			for _, dev := range devices.Open(t) {
				for _, mode := range c.MaskModes {
					t.Run(family+"/"+dev.Info().Device+"/"+mode, func(t *testing.T) {
						file, err := safetensors.Open(filepath.Join(dir, mode+".safetensors"))
						if errors.Is(err, fs.ErrNotExist) {
							t.Skipf("%s has no %s", dir, mode)
						}
						require.NoError(t, err)
						defer file.Close()
						run := &goldenTiny{t: t, dev: dev, dir: dir, c: c, want: file}
						run.attentionWeights(mode)
					})
				}
			}
		}
	}
}

func (r *goldenTiny) attentionWeights(mode string) {
	model, err := NewModel(r.c.config(r.t, packing.Attention(mode)), Init{})
	require.NoError(r.t, err)
	r.model = model
	require.NoError(r.t, model.Allocate(r.dev, true))
	r.loadWeights()
	r.loadInputs(mode)
	rows, tokens := r.in.Rows, r.in.Tokens
	b := &packing.Batch{Shape: packing.Shape{Rows: rows, T: tokens}, Positions: make([]int32, rows*tokens), Intervals: make([]int32, 4*rows*tokens)}
	require.NoError(r.t, engine.Download(r.dev, r.in.intervals[0].View(), b.Intervals))
	queries, group := make([]int32, rows*tokens), make([]int, rows*tokens)
	for i := range queries {
		queries[i], group[i] = int32(i), i%tokens // a group for each key
	}
	p, err := NewAttentionProbe(&Runner{Model: model, Device: r.dev}, queries, b, group, tokens)
	require.NoError(r.t, err)
	defer p.Close()
	exe := r.compile("weights", func(g *nn.Graph) {
		model.HiddenObserved(g, r.in, nil, p.Observe)
	})
	require.NoError(r.t, exe.Run(context.Background(), &r.step))
	got, err := p.Read(context.Background(), r.dev, exe)
	require.NoError(r.t, err)
	if len(got) != model.Config.Text.NumHiddenLayers {
		r.t.Fatalf("%d layers, want %d", len(got), model.Config.Text.NumHiddenLayers)
	}
	reference := r.weightsReference(mode)
	for layer, shares := range got {
		hidden := r.tensor("act.embeddings")
		if layer > 0 {
			hidden = r.tensor(fmt.Sprintf("act.layer.%d", layer-1))
		}
		want := reference.layer(layer, hidden)
		worst, visible := 0.0, 0
		for i, row := range shares {
			if !r.real[i] {
				continue
			}
			sum := 0.0
			for j, w := range row {
				sum += float64(w)
				worst = math.Max(worst, math.Abs(float64(w)-want[i][j]))
				if want[i][j] == 0 && w != 0 {
					r.t.Fatalf("layer %d: token %d attends to the masked token %d by %g", layer, i, j, w)
				}
				if w != 0 {
					visible++
				}
			}
			if !(math.Abs(sum-1) <= 1e-5) { // 64 roundings of 6e-8
				r.t.Fatalf("layer %d: the weights of token %d sum to %g", layer, i, sum)
			}
		}
		// About ten times the difference measured on the CPU, Vulkan and WebGPU, 2e-7.
		if !(worst <= 2e-6) || visible < tokens {
			r.t.Errorf("layer %d: weights differ by %g of a float64 softmax, %d are above 0", layer, worst, visible)
		}
	}
}

// weightsReference computes attention weights in float64.
type weightsReference struct {
	*goldenTiny
	c                  TextConfig
	positions, allowed []int32
}

func (r *goldenTiny) weightsReference(mode string) weightsReference {
	file, err := safetensors.Open(filepath.Join(r.dir, "inputs.safetensors"))
	require.NoError(r.t, err)
	defer file.Close()
	return weightsReference{r, r.model.Config.Text, require.Value(file.Int32("positions." + mode))(r.t), require.Value(file.Int32("allowed." + mode))(r.t)}
}

// layer returns the weights of each token over the keys of its row, averaged over the heads.
func (r weightsReference) layer(layer int, hidden []float32) [][]float64 {
	heads, kv, d := r.c.NumAttentionHeads, r.c.NumKeyValueHeads, r.c.HeadDim
	q, k := r.project(layer, "q", hidden, heads), r.project(layer, "k", hidden, kv)
	tokens := r.in.Tokens
	weights := make([][]float64, r.in.Rows*tokens)
	for i := range weights {
		weights[i] = make([]float64, tokens)
		for h := range heads {
			scores, total := make([]float64, tokens), 0.0
			for j := range scores {
				key := i/tokens*tokens + j
				if r.allowed[i*tokens+j] == 0 || !r.real[key] {
					continue
				}
				for x := range d {
					scores[j] += q[i][h*d+x] * k[key][h/(heads/kv)*d+x]
				}
				scores[j] = math.Exp(scores[j] / math.Sqrt(float64(d)))
				total += scores[j]
			}
			for j, s := range scores {
				if s > 0 {
					weights[i][j] += s / total / float64(heads)
				}
			}
		}
	}
	return weights
}

// project returns the queries or keys of each token, [heads·D]: RMSNorm, projection, QK norm for
// Qwen3, and RoPE.
func (r weightsReference) project(layer int, name string, hidden []float32, heads int) [][]float64 {
	prefix, width, d := fmt.Sprintf("decoder.model.layers.%d.", layer), r.c.HiddenSize, r.c.HeadDim
	scale, matrix := r.weight(prefix+"input_layernorm.weight"), r.weight(prefix+"self_attn."+name+"_proj.weight")
	var inner []float32 // Qwen3's
	if r.c.QKNorm() {
		inner = r.weight(prefix + "self_attn." + name + "_norm.weight")
	}
	out := make([][]float64, len(hidden)/width)
	for t := range out {
		x := normed(hidden[t*width:][:width], scale, r.c.RMSNormEps)
		y := make([]float64, heads*d)
		for o := range y {
			for i, v := range x {
				y[o] += float64(matrix[o*width+i]) * v
			}
		}
		for h := range heads {
			head := y[h*d:][:d]
			if inner != nil {
				copy(head, normed(head, inner, r.c.RMSNormEps))
			}
			for i := range d / 2 {
				angle := float64(r.positions[t]) * math.Pow(r.c.RopeTheta, -2*float64(i)/float64(d))
				sin, cos := math.Sincos(angle)
				head[i], head[i+d/2] = head[i]*cos-head[i+d/2]*sin, head[i+d/2]*cos+head[i]*sin
			}
		}
		out[t] = y
	}
	return out
}

func (r weightsReference) weight(name string) []float32 {
	p := r.model.Params.ByName(name)
	return require.Value(r.model.Params.Read(r.dev, r.model.Params.Weights, p))(r.t)
}

// normed is RMSNorm.
func normed[E float32 | float64](x []E, scale []float32, eps float64) []float64 {
	squares, y := 0.0, make([]float64, len(x))
	for _, e := range x {
		squares += float64(e) * float64(e)
	}
	for i, e := range x {
		y[i] = float64(e) * float64(scale[i]) / math.Sqrt(squares/float64(len(x))+eps)
	}
	return y
}
