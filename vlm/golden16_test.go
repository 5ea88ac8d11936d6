package vlm

import (
	"context"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"patchwork/engine"
	"patchwork/engine/enginetest/devices"
	"patchwork/internal/golden"
	"patchwork/internal/require"
	"patchwork/nn"
	"patchwork/nn/safetensors"
	"patchwork/shaders"
	"patchwork/vlm/packing"
)

// TestGoldenTiny16 compares the tiny models in 16 bits with the goldens, which are in 32: the
// losses before each of three steps, the gradient norms, and the gradient of every parameter.
//
// A value is rounded by u = 2⁻⁸ of itself in bf16 and 2⁻¹¹ in f16, about thirty times between a
// weight, the loss and the gradient. Random roundings add up to √30·u, 2 % and 0.3 %; the
// tolerance is twice that for the direction of a gradient, and a tenth of it for the loss, a mean
// over tokens.
func TestGoldenTiny16(t *testing.T) {
	for _, family := range []string{"tiny_llama", "tiny_qwen3", "tiny_qwen3_untied"} {
		for _, dir := range golden.Dirs(t, family) {
			var c goldenConfig
			golden.JSON(t, filepath.Join(dir, "config.json"), &c)
			mode := c.MaskModes[slices.IndexFunc(c.MaskModes, func(mode string) bool {
				_, err := os.Stat(filepath.Join(dir, mode+".safetensors"))
				return err == nil
			})]
			for _, dev := range devices.Open(t) {
				for _, in := range []struct {
					t    shaders.Type
					unit float64
				}{{shaders.BF16, 0x1p-8}, {shaders.F16, 0x1p-11}} {
					t.Run(fmt.Sprintf("%s/%s/%v", family, dev.Info().Device, in.t), func(t *testing.T) {
						file, err := safetensors.Open(filepath.Join(dir, mode+".safetensors"))
						require.NoError(t, err)
						defer file.Close()
						run := &goldenTiny{t: t, dev: dev, dir: dir, c: c, want: file}
						run.run16(mode, in.t, 2*math.Sqrt(30)*in.unit)
					})
				}
			}
		}
	}
}

func (r *goldenTiny) run16(mode string, t shaders.Type, tolerance float64) {
	model, err := NewModel(r.c.config(r.t, packing.Attention(mode)), Init{})
	require.NoError(r.t, err)
	r.model = model
	model.Store(t)
	require.NoError(r.t, model.Allocate(r.dev, true))
	r.loadWeights()
	require.NoError(r.t, model.Params.SyncHalf(context.Background(), r.dev))
	r.loadInputs(mode)

	scale := float32(1)
	o := r.optimizer()
	if t == shaders.F16 {
		scale, o.ScaleSlot = 1024, SlotLoss
	}
	r.step[SlotLoss] = math.Float32bits(scale)
	r.step[SlotScale] = math.Float32bits(scale * math.Float32frombits(r.step[SlotScale]))
	var loss nn.HeadLoss
	forward := r.compile("tiny", func(g *nn.Graph) {
		loss = model.Loss(g, r.in, nil)
		g.Keep(loss.Sum)
	})
	var clip *nn.Tensor
	update := r.compile("update", func(g *nn.Graph) {
		clip = g.Keep(o.Update(g, func(string) int { return SlotAdam }))
	})
	count := float64(r.tensor("token_count")[0])
	losses, norms := r.tensor("losses"), r.tensor("grad_norm")
	for step := 1; step <= 3; step++ {
		require.NoError(r.t, forward.Run(context.Background(), &r.step))
		r.near(fmt.Sprintf("loss before step %d", step), float64(r.temp(forward, loss.Sum)[0])/count, float64(losses[step-1]), tolerance/10)
		if step == 1 {
			r.compareGradients(scale, tolerance)
		}
		o.Set(&r.step, SlotAdam, r.c.Training.LR, step)
		require.NoError(r.t, update.Run(context.Background(), &r.step))
		r.near(fmt.Sprintf("norm of step %d", step), float64(r.temp(update, clip)[0]), float64(norms[step-1]), tolerance)
	}
	r.compareHalf()
}

func (r *goldenTiny) near(what string, got, want, relative float64) {
	r.t.Helper()
	if !(math.Abs(got-want) <= relative*math.Abs(want)) {
		r.t.Errorf("%s is %g, want %g within %.2g of it", what, got, want, relative)
	}
}

// compareGradients compares each parameter's gradient, as a vector, with the golden.
func (r *goldenTiny) compareGradients(scale float32, tolerance float64) {
	for _, p := range r.model.Params.All() {
		got, err := r.model.Params.Read(r.dev, r.model.Params.Grads, p)
		require.NoError(r.t, err)
		want := r.tensor("grad." + p.Name)
		var distance, size float64
		for i, w := range want {
			distance += math.Pow(float64(got[i]/scale-w), 2)
			size += float64(w) * float64(w)
		}
		if error := math.Sqrt(distance / size); !(error <= tolerance) {
			r.t.Errorf("the gradient of %s is off by %.3g of its length, allowed %.3g", p.Name, error, tolerance)
		}
	}
}

// compareHalf checks that the copy in 16 bits is the rounded weights.
func (r *goldenTiny) compareHalf() {
	s := r.model.Params
	for _, p := range s.All() {
		want, err := s.Read(r.dev, s.Weights, p)
		require.NoError(r.t, err)
		half := make([]float32, len(want))
		require.NoError(r.t, engine.DownloadFloats(r.dev, s.HalfView(p), half))
		for i, w := range want {
			if rounded := s.Half.Type.Format().Round(w); half[i] != rounded {
				r.t.Fatalf("%s[%d] is %g, and %g in 16 bits, want %g", p.Name, i, w, half[i], rounded)
			}
		}
	}
}
