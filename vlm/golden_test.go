package vlm

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"path/filepath"
	"strings"
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

// goldenConfig is a tiny model's config.json, in a flat format used only by the tests.
type goldenConfig struct {
	ImageSize    int             `json:"image_size"`
	PatchSize    int             `json:"patch_size"`
	MaxGrid      int             `json:"max_grid"`
	HiddenSize   int             `json:"hidden_size"`
	ImageTokenID int             `json:"image_token_id"`
	LayerNormEps float64         `json:"layer_norm_eps"`
	Channels     int             `json:"channels"`
	Decoder      json.RawMessage `json:"decoder"`
	MaskModes    []string        `json:"mask_modes"`
	Training     struct {
		LR          float64  `json:"lr"`
		Beta1       float64  `json:"beta1"`
		Beta2       float64  `json:"beta2"`
		Eps         float64  `json:"eps"`
		WeightDecay float64  `json:"weight_decay"`
		MaxGradNorm float64  `json:"max_grad_norm"`
		Decayed     []string `json:"decayed"`
		NotDecayed  []string `json:"not_decayed"`
	} `json:"training"`
}

func (c goldenConfig) config(t *testing.T, mode packing.Attention) Config {
	mode = packing.Attention(packing.CurrentName(string(mode)))
	out := Config{
		ModelType: ModelType, ImageTokenID: c.ImageTokenID, Attention: mode, FormatVersion: FormatVersion,
		Vision: VisionConfig{
			ImageSize: c.ImageSize, PatchSize: c.PatchSize, NumChannels: c.Channels, HiddenSize: c.HiddenSize, MaxGrid: c.MaxGrid,
			LayerNormEps: c.LayerNormEps, PatchNormEps: c.LayerNormEps,
		},
	}
	require.NoError(t, json.Unmarshal(c.Decoder, &out.Text))
	return out
}

func (c goldenConfig) vocabulary(t *testing.T) int {
	return c.config(t, "").Text.VocabSize
}

// TestGoldenTiny compares every stage, every gradient and three optimizer steps of the tiny
// models in every attention mode on every device; in one mode also with bindings smaller than
// the larger matrices, and with NoFusion.
func TestGoldenTiny(t *testing.T) {
	for _, family := range []string{"tiny_llama", "tiny_qwen3", "tiny_qwen3_untied"} {
		t.Run(family, func(t *testing.T) {
			for _, dir := range golden.Dirs(t, family) {
				var c goldenConfig
				golden.JSON(t, filepath.Join(dir, "config.json"), &c)
				for _, dev := range devices.Open(t) {
					for _, mode := range c.MaskModes {
						file, err := safetensors.Open(filepath.Join(dir, mode+".safetensors"))
						if errors.Is(err, fs.ErrNotExist) {
							t.Logf("%s has no %s", dir, mode)
							continue
						}
						require.NoError(t, err)
						t.Run(dev.Info().Device+"/"+mode, func(t *testing.T) {
							run := &goldenTiny{t: t, dev: dev, dir: dir, c: c, want: file}
							run.run(mode)
						})
						if mode != c.MaskModes[len(c.MaskModes)-1] {
							file.Close()
							continue
						}
						if dev.Info().Device == "cpu" {
							t.Run("cpu/"+mode+"/no fusion", func(t *testing.T) {
								run := &goldenTiny{t: t, dev: dev, dir: dir, c: c, want: file, noFusion: true}
								run.run(mode)
							})
						}
						t.Run(dev.Info().Device+"/"+mode+"/small bindings", func(t *testing.T) {
							// A third of the embedding is bound at once.
							small := devices.NewNarrow(dev, int64(c.vocabulary(t)*c.HiddenSize*4/3)/engine.Alignment*engine.Alignment)
							run := &goldenTiny{t: t, dev: small, dir: dir, c: c, want: file}
							run.run(mode)
							for _, k := range []string{"embed", "embed_backward", "fill", "matmul", "sum_squares", "adamw"} {
								if small.Divided[k] == 0 {
									t.Errorf("no call of %s was split: %v", k, small.Divided)
								}
							}
						})
						file.Close()
					}
				}
			}
		})
	}
}

type goldenTiny struct {
	t        *testing.T
	dev      engine.Device
	dir      string
	c        goldenConfig
	want     *safetensors.File
	model    *Model
	in       *Inputs
	noFusion bool   // nn.Options'
	real     []bool // tokens that are not padding
	step     [shaders.StepWords]uint32
}

// rtol is 0 on the CPU and the tolerance in golden/README.md on a GPU.
func (r *goldenTiny) rtol(gpu float64) float64 {
	if r.dev.Info().Device == "cpu" {
		return 0
	}
	return gpu
}

func (r *goldenTiny) run(mode string) {
	model, err := NewModel(r.c.config(r.t, packing.Attention(mode)), Init{})
	require.NoError(r.t, err)
	r.model = model
	require.NoError(r.t, model.Allocate(r.dev, true))
	r.checkDecay()
	r.loadWeights()
	r.loadInputs(mode)

	trace := Trace{}
	var loss nn.HeadLoss
	forward := r.compile("tiny", func(g *nn.Graph) {
		loss = model.Loss(g, r.in, trace)
		g.Keep(loss.Sum)
		// Logits of every token, only for the comparison.
		trace["logits"] = g.Keep(g.Linear(trace["norm"], g.Param(model.decoder.head), nil, nil))
	})
	o := r.optimizer()
	var clip *nn.Tensor
	update := r.compile("update", func(g *nn.Graph) {
		clip = g.Keep(o.Update(g, func(string) int { return SlotAdam }))
	})
	count := r.tensor("token_count")[0]
	losses, norms, factors := r.tensor("losses"), r.tensor("grad_norm"), r.tensor("clip_factor")
	for t := 1; t <= 4; t++ {
		require.NoError(r.t, forward.Run(context.Background(), &r.step))
		sum := r.temp(forward, loss.Sum)
		golden.Compare(r.t, fmt.Sprintf("loss before step %d", t), []float32{sum[0] / count}, losses[t-1:t], golden.Tolerance{Atol: 1e-5, Rtol: r.rtol(1e-5)})
		if t == 1 {
			r.compareStages(forward, trace, sum[0])
		}
		if t == 4 {
			break
		}
		o.Set(&r.step, SlotAdam, r.c.Training.LR, t)
		require.NoError(r.t, update.Run(context.Background(), &r.step))
		got := r.temp(update, clip)
		tol := golden.Tolerance{Atol: 4e-5, Rtol: r.rtol(1e-5)}
		golden.Compare(r.t, "grad_norm", got[:1], norms[t-1:t], tol)
		golden.Compare(r.t, "clip_factor", got[1:], factors[t-1:t], tol)
		if t == 1 || t == 3 {
			r.compareParameters(t)
		}
	}
}

func (r *goldenTiny) optimizer() nn.AdamW {
	c := r.c.Training
	return nn.AdamW{Beta1: c.Beta1, Beta2: c.Beta2, Eps: c.Eps, WeightDecay: c.WeightDecay, MaxNorm: c.MaxGradNorm}
}

func (r *goldenTiny) compile(name string, f func(g *nn.Graph)) engine.Executable {
	program, err := nn.Record(name, nn.Options{Params: r.model.Params, Train: true, NoFusion: r.noFusion, Type: r.model.Storage()}, f)
	require.NoError(r.t, err)
	plan, err := engine.NewPlan(program, r.model.maxBufferBytes)
	require.NoError(r.t, err)
	exe, err := r.dev.Compile(plan, nil)
	require.NoError(r.t, err)
	r.t.Cleanup(exe.Free)
	return exe
}

func (r *goldenTiny) checkDecay() {
	want := map[string]bool{}
	for _, n := range r.c.Training.Decayed {
		want[n] = true
	}
	for _, n := range r.c.Training.NotDecayed {
		want[n] = false
	}
	for _, p := range r.model.Params.All() {
		if decay, ok := want[p.Name]; !ok || decay != p.Decay {
			r.t.Errorf("%s: decayed %v, want %v (listed %v)", p.Name, p.Decay, decay, ok)
		}
	}
	if len(want) != len(r.model.Params.All()) {
		r.t.Errorf("%d parameters, want %d", len(r.model.Params.All()), len(want))
	}
}

func (r *goldenTiny) loadWeights() {
	file, err := safetensors.Open(filepath.Join(r.dir, "model.safetensors"))
	require.NoError(r.t, err)
	defer file.Close()
	for _, p := range r.model.Params.All() {
		values, err := file.Float32(p.Name)
		require.NoError(r.t, err)
		require.NoError(r.t, r.model.Params.Write(r.dev, p, values))
	}
}

// loadInputs converts the golden batch to Inputs.
func (r *goldenTiny) loadInputs(mode string) {
	file, err := safetensors.Open(filepath.Join(r.dir, "inputs.safetensors"))
	require.NoError(r.t, err)
	defer file.Close()
	ints := func(name string) []int32 {
		v, err := file.Int32(name)
		require.NoError(r.t, err)
		return v
	}
	shape, _ := file.Tensor("input_ids")
	rows, tokens := shape.Shape[0], shape.Shape[1]
	images, _ := file.Tensor("pixels")
	r.in = r.model.NewInputs(rows, tokens, images.Shape[0], tokens)
	r.in.floatPixels = engine.NewBuffer("pixels", 4*int64(len(require.Value(file.Float32("pixels"))(r.t))))
	_, err = engine.Allocate(r.dev, "pixels", r.in.floatPixels)
	require.NoError(r.t, err)
	require.NoError(r.t, r.in.Allocate(r.dev))
	require.NoError(r.t, engine.Upload(r.dev, r.in.floatPixels.View(), require.Value(file.Float32("pixels"))(r.t)))

	segments := ints("segment_ids")
	b := &packing.Batch{IDs: ints("input_ids"), Positions: ints("positions." + mode), Targets: ints("targets." + mode), Segments: segments}
	allowed, slot := ints("allowed."+mode), int32(0)
	for i, id := range b.IDs {
		r.real = append(r.real, segments[i] >= 0)
		b.ImageSlots = append(b.ImageSlots, -1)
		if int(id) == r.c.ImageTokenID {
			b.ImageSlots[i] = slot
			slot++
		}
		lo, hi := 0, 0
		if segments[i] >= 0 {
			lo, hi = r.visible(allowed[i*tokens:(i+1)*tokens], segments[i/tokens*tokens:][:tokens])
		}
		b.Intervals = append(b.Intervals, 0, 0, int32(lo), int32(hi))
	}
	n, err := r.in.Upload(r.dev, b, nil, &r.step)
	require.NoError(r.t, err)
	r.step[SlotScale] = math.Float32bits(1 / float32(n))
	if want := int(r.tensor("token_count")[0]); n != want {
		r.t.Fatalf("%d targets, want %d", n, want)
	}
}

func (r *goldenTiny) visible(allowed, segments []int32) (lo, hi int) {
	lo, seen := len(allowed), 0
	for j, ok := range allowed {
		if ok != 0 && segments[j] >= 0 {
			lo, hi, seen = min(lo, j), j+1, seen+1
		}
	}
	if hi-lo != seen {
		r.t.Fatalf("%d keys seen in [%d,%d)", seen, lo, hi)
	}
	return lo, hi
}

// tensor reads a golden tensor as float32.
func (r *goldenTiny) tensor(name string) []float32 {
	r.t.Helper()
	if info, _ := r.want.Tensor(name); info.DType == "I32" {
		var out []float32
		for _, v := range require.Value(r.want.Int32(name))(r.t) {
			out = append(out, float32(v))
		}
		return out
	}
	return require.Value(r.want.Float32(name))(r.t)
}

func (r *goldenTiny) temp(exe engine.Executable, x *nn.Tensor) []float32 {
	values := make([]float32, x.Size())
	require.NoError(r.t, engine.DownloadTemp(r.dev, exe, x.View(), values))
	return values
}

func (r *goldenTiny) compareStages(exe engine.Executable, trace Trace, sum float32) {
	golden.Compare(r.t, "loss_sum", []float32{sum}, r.tensor("loss_sum"), golden.Tolerance{Atol: 1.6e-4, Rtol: r.rtol(1e-5)})
	compared := 0
	for _, name := range r.want.Names() {
		stage, ok := strings.CutPrefix(name, "act.")
		if !ok {
			continue
		}
		x, ok := trace[stage]
		if !ok {
			r.t.Errorf("the model has no stage %s", stage)
			continue
		}
		got, want := r.temp(exe, x), r.tensor(name)
		if strings.HasPrefix(stage, "layer") || stage == "norm" || stage == "logits" {
			got, want = r.onlyReal(got), r.onlyReal(want)
		}
		golden.Compare(r.t, name, got, want, r.stageTolerance(stage))
		compared++
	}
	for _, p := range r.model.Params.All() {
		got, err := r.model.Params.Read(r.dev, r.model.Params.Grads, p)
		require.NoError(r.t, err)
		golden.Compare(r.t, "grad."+p.Name, got, r.tensor("grad."+p.Name), golden.Tolerance{Atol: 2e-6, Rtol: r.rtol(1e-3)})
	}
	if compared < 8 {
		r.t.Errorf("only %d stages compared", compared)
	}
}

// stageTolerance is the table in golden/README.md.
func (r *goldenTiny) stageTolerance(stage string) golden.Tolerance {
	switch {
	case stage == "patches":
		return golden.Tolerance{}
	case strings.HasPrefix(stage, "embedder"), stage == "connector", stage == "embeddings":
		return golden.Tolerance{Atol: 1.2e-5, Rtol: r.rtol(1e-4)}
	}
	return golden.Tolerance{Atol: 3e-5, Rtol: r.rtol(1e-4)}
}

// onlyReal drops the rows of padding, whose values are undefined.
func (r *goldenTiny) onlyReal(x []float32) []float32 {
	width := len(x) / len(r.real)
	var out []float32
	for i, real := range r.real {
		if real {
			out = append(out, x[i*width:(i+1)*width]...)
		}
	}
	return out
}

// compareParameters applies the criteria of golden/README.md for a step: a tight tolerance for
// nearly all elements, a loose one for every element (AdamW turns a flipped sign into 2·lr), and a
// bound on the mean difference.
func (r *goldenTiny) compareParameters(step int) {
	var total, tight, sum float64
	for _, p := range r.model.Params.All() {
		name := fmt.Sprintf("step%d.%s", step, p.Name)
		got, err := r.model.Params.Read(r.dev, r.model.Params.Weights, p)
		require.NoError(r.t, err)
		want := r.tensor(name)
		golden.Compare(r.t, name, got, want, golden.Tolerance{Atol: 6e-4})
		for i := range want {
			d := math.Abs(float64(got[i] - want[i]))
			total, sum = total+1, sum+d
			if d <= 2.4e-6+r.rtol(1e-6)*math.Abs(float64(want[i])) {
				tight++
			}
		}
	}
	if tight/total < 0.999 || sum/total > 1e-7 {
		r.t.Errorf("after step %d: %.4f of the parameters within 2.4e-6, want 0.999; mean difference %.2g, want 1e-7", step, tight/total, sum/total)
	}
}
