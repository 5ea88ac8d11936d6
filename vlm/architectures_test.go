package vlm

import (
	"context"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"patchwork/engine"
	"patchwork/engine/cpu"
	"patchwork/engine/enginetest/devices"
	"patchwork/internal/golden"
	"patchwork/internal/require"
	"patchwork/nn"
	"patchwork/shaders"
	"patchwork/vlm/chat"
	"patchwork/vlm/packing"
)

// variantModel is a model of two layers that sees and hears, changed by a function.
func variantModel(t *testing.T, change func(c *Config)) *Model {
	t.Helper()
	v := VisionConfig{ImageSize: 8, PatchSize: 4, NumChannels: 3, HiddenSize: 16, MaxGrid: 2, LayerNormEps: 1e-5, PatchNormEps: 1}
	c := hearingModel(t, AudioConfig{SampleRate: 16_000, FrameSize: 6, HiddenSize: 16, RMSNormEps: 1e-6}, v).Config
	c.Text.NumHiddenLayers = 2
	change(&c)
	m, err := NewModel(c, Init{FanIn: true, Embedding: 0.5, Positions: 0.5})
	require.NoError(t, err)
	return m
}

func embedderConfig(name string) func(c *Config) {
	return func(c *Config) { c.Vision.SetEmbedder(name) }
}

func withExperts(c *Config) { c.ImageExperts = true }

var variants = map[string]func(c *Config){
	"linear": embedderConfig(EmbedderLinear), "stem": embedderConfig(EmbedderStem), "encoder": embedderConfig(EmbedderEncoder), "experts": withExperts,
	"experts, gemma3": func(c *Config) { c.ImageExperts, c.Text.ModelType, c.Text.LayerTypes = true, "gemma3_text", nil },
}

// gradients are all gradients of a run, by parameter.
func (h *hearing) gradients() map[string][]float32 {
	h.run()
	all := map[string][]float32{}
	for _, p := range h.model.Params.WithGrad() {
		all[p.Name] = require.Value(h.model.Params.Read(h.dev, h.model.Params.Grads, p))(h.t)
	}
	return all
}

// TestVariantsOnDevices: gradients on every device are those of the CPU.
func TestVariantsOnDevices(t *testing.T) {
	for name, change := range variants {
		want := startHearing(t, variantModel(t, change), true).gradients()
		for _, dev := range devices.Open(t) {
			t.Run(dev.Info().Device+"/"+name, func(t *testing.T) {
				got := startHearingOn(t, dev, variantModel(t, change), true).gradients()
				for name, values := range want {
					golden.Compare(t, name, got[name], values, golden.Tolerance{Atol: 2e-6, Rtol: 1e-3}) // as TestGoldenTiny
				}
			})
		}
	}
}

// TestVariantGradients: the gradients of every embedder, and of image experts beside the decoder's
// layers, are those of central differences. Half of the slots of images are not in use.
func TestVariantGradients(t *testing.T) {
	for name, change := range variants {
		t.Run(name, func(t *testing.T) {
			h := startHearing(t, variantModel(t, change), true)
			h.run()
			h.compareGradients(func(p *nn.Param) bool {
				last := strings.HasPrefix(p.Name, ExpertPrefix+"layers.1.") // all tokens have targets, but few are after an image
				layers := strings.HasPrefix(p.Name, DecoderPrefix+"model.layers.")
				return p.Group == GroupEmbedder && !strings.HasPrefix(p.Name, AudioPrefix) || p.Group == GroupExperts && !last || layers && h.model.Config.ImageExperts
			})
		})
	}
}

// TestUnusedImages: what an earlier batch left in the slots of images that are not in use changes no
// gradient.
func TestUnusedImages(t *testing.T) {
	for name, change := range map[string]func(c *Config){"stem": embedderConfig(EmbedderStem), "encoder": embedderConfig(EmbedderEncoder), "experts": withExperts} {
		t.Run(name, func(t *testing.T) {
			h := startHearing(t, variantModel(t, change), true)
			want := h.gradients()
			h.uploadImages()
			h.run()
			h.upload(true)
			for name, got := range h.gradients() {
				if !slices.Equal(got, want[name]) {
					t.Errorf("the gradient of %s depends on the batch before", name)
				}
			}
		})
	}
}

// uploadImages uploads a batch that uses all slots of images.
func (h *hearing) uploadImages() {
	var rows [][]*packing.Sample
	for i := range 2 {
		rows = append(rows, []*packing.Sample{{Row: i, IDs: make([]int32, 12), LossMask: make([]bool, 12), Images: []int{1}}})
	}
	b, err := packing.Build(packing.Shape{Rows: 2, T: 16, Patches: h.model.Config.Vision.Patches()},
		packing.Modes{Attention: packing.Document, Turns: packing.InConversation, Loss: packing.OnAll}, rows)
	require.NoError(h.t, err)
	pixels := make([]byte, 2*8*8*3)
	for i := range pixels {
		pixels[i] = byte(i * i)
	}
	_, err = h.in.Upload(h.dev, b, pixels, &h.step)
	require.NoError(h.t, err)
}

// TestCopiedExperts: experts that are copies of the decoder change no loss.
func TestCopiedExperts(t *testing.T) {
	var losses [2]float64
	for i, change := range []func(c *Config){func(*Config) {}, withExperts} {
		h := startHearing(t, variantModel(t, change), true)
		if i == 1 && h.run() == losses[0] {
			t.Error("random experts give the loss of a model without")
		}
		require.NoError(t, h.model.CopyExperts(h.dev))
		losses[i] = h.run()
	}
	if math.Abs(losses[0]-losses[1]) > 2e-6 { // sums in another order
		t.Errorf("losses %v without and with experts", losses)
	}
}

// embedded runs an embedder on one image in which all slots are in use, and returns the patches, one
// row each, and the vectors.
func embedded(t *testing.T, m *Model) (patches, vectors [][]float32) {
	dev := cpu.Open(1)
	t.Cleanup(func() { m.Close(); dev.Close() })
	require.NoError(t, m.Allocate(dev, false))
	for _, p := range m.Params.All() {
		if len(p.Shape) == 1 { // biases and norms count too
			p.Init.Std = 0.3
		}
	}
	require.NoError(t, m.Params.Initialise(dev, 3))
	in := m.NewInputs(1, 8, 1, 8)
	require.NoError(t, in.Allocate(dev))
	t.Cleanup(in.Close)
	var x, y *nn.Tensor
	program, err := nn.Record("embedder", nn.Options{Params: m.Params}, func(g *nn.Graph) {
		x = g.Keep(in.patches(g))
		y = g.Keep(m.embedder.forward(g, x, in.patchGrid.tensors(in.vision, SlotQuarters), nil))
	})
	require.NoError(t, err)
	exe, err := dev.Compile(require.Value(m.Plan(program))(t), nil)
	require.NoError(t, err)
	t.Cleanup(exe.Free)
	random := rand.New(rand.NewPCG(1, 2))
	pixels := make([]byte, m.Config.Vision.PixelBytes())
	for i := range pixels {
		pixels[i] = byte(random.Uint32())
	}
	b, err := packing.Build(packing.Shape{Rows: 1, T: 8, Patches: 4}, packing.Modes{Attention: packing.Document, Turns: packing.InConversation, Loss: packing.OnAll},
		[][]*packing.Sample{{{IDs: make([]int32, 6), LossMask: make([]bool, 6), Images: []int{1}}}})
	require.NoError(t, err)
	var step [shaders.StepWords]uint32
	_, err = in.Upload(dev, b, pixels, &step)
	require.NoError(t, err)
	require.NoError(t, exe.Run(context.Background(), &step))
	rows := func(x *nn.Tensor) (rows [][]float32) {
		values := make([]float32, x.Size())
		require.NoError(t, engine.DownloadTemp(dev, exe, x.View(), values))
		for i := range x.Shape[0] {
			rows = append(rows, values[i*x.Cols():][:x.Cols()])
		}
		return rows
	}
	return rows(x), rows(y)
}

// weightsOf returns a reader of a model's parameters.
func weightsOf(t *testing.T, m *Model) func(name string) []float64 {
	return func(name string) (out []float64) {
		for _, v := range require.Value(m.Params.Read(cpu.Open(1), m.Params.Weights, m.Params.ByName(name)))(t) {
			out = append(out, float64(v))
		}
		return out
	}
}

// checkVectors compares vectors with a reference.
func checkVectors(t *testing.T, got [][]float32, want [][]float64) {
	t.Helper()
	for i := range want {
		for j, w := range want[i] {
			if math.Abs(float64(got[i][j])-w) > 2e-5 { // float32's rounding of sums of some 100 terms of about 1
				t.Fatalf("patch %d, column %d: %g, want %g", i, j, got[i][j], w)
			}
		}
	}
}

// TestEmbedderValues compares every embedder with a plain computation in float64.
func TestEmbedderValues(t *testing.T) {
	for name, reference := range map[string]func(w func(string) []float64, x [][]float64) [][]float64{
		EmbedderLinear: func(w func(string) []float64, x [][]float64) [][]float64 { return affine(x, w, "embedder.fc") },
		EmbedderStem:   stemReference, EmbedderEncoder: encoderReference,
	} {
		t.Run(name, func(t *testing.T) {
			m := variantModel(t, func(c *Config) {
				c.Vision.SetEmbedder(name)
				if name == EmbedderEncoder {
					c.Vision.EncoderLayers, c.Vision.EncoderHeads = 2, 4
				}
			})
			patches, got := embedded(t, m)
			var x [][]float64
			for _, p := range patches {
				var row []float64
				for _, v := range p {
					if v < -1 || v > 1 {
						t.Fatalf("a pixel of %g, want -1 to 1", v)
					}
					row = append(row, float64(v))
				}
				x = append(x, row)
			}
			checkVectors(t, got, reference(weightsOf(t, m), x))
		})
	}
}

// affine is x·wᵀ + b.
func affine(x [][]float64, w func(string) []float64, name string) (y [][]float64) {
	weight, bias := w(name+".weight"), w(name+".bias")
	for _, row := range x {
		out := make([]float64, len(bias))
		for o := range out {
			out[o] = bias[o]
			for i, v := range row {
				out[o] += v * weight[o*len(row)+i]
			}
		}
		y = append(y, out)
	}
	return y
}

func gelu(x [][]float64) [][]float64 {
	for _, row := range x {
		for i, v := range row {
			row[i] = v / 2 * (1 + math.Tanh(math.Sqrt(2/math.Pi)*(v+0.044715*v*v*v)))
		}
	}
	return x
}

func added(x, y [][]float64) [][]float64 {
	for i := range x {
		for j := range x[i] {
			x[i][j] += y[i][j]
		}
	}
	return x
}

// stemReference are the convolutions of strides 2 and 2 over patches of 3×4×4.
func stemReference(w func(string) []float64, x [][]float64) (y [][]float64) {
	for _, patch := range x {
		var quarters []float64
		for q := range 4 {
			var window []float64
			for c := range 3 {
				for i := range 4 {
					window = append(window, patch[c*16+(q/2*2+i/2)*4+q%2*2+i%2])
				}
			}
			quarters = append(quarters, gelu(affine([][]float64{window}, w, "embedder.conv1"))[0]...)
		}
		y = append(y, affine([][]float64{quarters}, w, "embedder.conv2")[0])
	}
	return y
}

// encoderReference is a vision transformer with 2 layers and 4 heads over an image of 2×2 patches.
func encoderReference(w func(string) []float64, x [][]float64) [][]float64 {
	norm := func(x [][]float64, name string) (out [][]float64) {
		weight, bias := w(name+".weight"), w(name+".bias")
		for _, row := range x {
			n, mean, variance, y := float64(len(row)), 0.0, 0.0, make([]float64, len(row))
			for _, v := range row {
				mean += v / n
			}
			for _, v := range row {
				variance += (v - mean) * (v - mean) / n
			}
			for i, v := range row {
				y[i] = (v-mean)/math.Sqrt(variance+1e-5)*weight[i] + bias[i]
			}
			out = append(out, y)
		}
		return out
	}
	y, yPos, xPos := affine(x, w, "encoder.patch_embedding"), w("encoder.y_pos_emb"), w("encoder.x_pos_emb")
	for i := range y {
		for j := range y[i] {
			y[i][j] += yPos[i/2*16+j] + xPos[i%2*16+j]
		}
	}
	for _, layer := range []string{"encoder.layers.0.", "encoder.layers.1."} {
		h := norm(y, layer+"layer_norm1")
		q, k, v := affine(h, w, layer+"self_attn.q_proj"), affine(h, w, layer+"self_attn.k_proj"), affine(h, w, layer+"self_attn.v_proj")
		y = added(y, affine(attended(q, k, v, 4), w, layer+"self_attn.out_proj"))
		y = added(y, affine(gelu(affine(norm(y, layer+"layer_norm2"), w, layer+"mlp.fc1")), w, layer+"mlp.fc2"))
	}
	return affine(norm(y, "encoder.post_layernorm"), w, "connector")
}

// attended is attention of all rows over all rows.
func attended(q, k, v [][]float64, heads int) (y [][]float64) {
	d := len(q[0]) / heads
	for i := range q {
		y = append(y, make([]float64, len(q[0])))
		for h := range heads {
			weights, sum := make([]float64, len(k)), 0.0
			for j := range k {
				for c := h * d; c < (h+1)*d; c++ {
					weights[j] += q[i][c] * k[j][c]
				}
				weights[j] = math.Exp(weights[j] / math.Sqrt(float64(d)))
				sum += weights[j]
			}
			for j := range k {
				for c := h * d; c < (h+1)*d; c++ {
					y[i][c] += weights[j] / sum * v[j][c]
				}
			}
		}
	}
	return y
}

// TestVariantChecks: settings that do not fit together are refused with one line.
func TestVariantChecks(t *testing.T) {
	for _, c := range []struct {
		want   string
		change func(c *Config)
	}{
		{`embedder "fuyu" is not known; want linear, stem, encoder, or none`, embedderConfig("fuyu")},
		{`embedder "norms" is not known`, func(c *Config) { c.Vision.Embedder = EmbedderNorms }},
		{"mean_colors is not for the linear embedder", func(c *Config) { c.Vision.MeanColors, c.Vision.Embedder = true, EmbedderLinear }},
		{"patch_size 1 is odd", func(c *Config) { c.Vision.Embedder, c.Vision.PatchSize, c.Vision.MaxGrid = EmbedderStem, 1, 8 }},
		{"square images only", func(c *Config) {
			c.Vision.SetEmbedder(EmbedderEncoder)
			c.Vision.ImageSize, c.Vision.MaxPatches = 0, 4
		}},
		{"encoder_layers is 0", func(c *Config) { c.Vision.Embedder = EmbedderEncoder }},
		{"encoder_heads is 3", func(c *Config) { c.Vision.SetEmbedder(EmbedderEncoder); c.Vision.EncoderHeads = 3 }},
		{"encoder_layers and encoder_heads are of the encoder", func(c *Config) { c.Vision.EncoderLayers = 1 }},
		{"image_experts: the model takes no images", func(c *Config) { c.ImageExperts, c.Vision = true, VisionConfig{} }},
		{"image_experts and adapter are both set", func(c *Config) {
			c.ImageExperts, c.Adapter = true, &Adapter{Rank: 1, Alpha: 1, Targets: AdapterTargets}
		}},
	} {
		config := variantModel(t, func(*Config) {}).Config
		c.change(&config)
		if err := config.Check(); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v, want %q", err, c.want)
		}
	}
}

// TestStemInAspectRatio: the stem takes images of any shape, and its gradients are right for them.
func TestStemInAspectRatio(t *testing.T) {
	m := variantModel(t, func(c *Config) {
		c.Vision.SetEmbedder(EmbedderStem)
		c.Vision.ImageSize, c.Vision.MaxPatches, c.Vision.MaxGrid = 0, 4, 4
	})
	h := startHearing(t, m, false)
	s := &packing.Sample{IDs: make([]int32, 8), LossMask: make([]bool, 8), Images: []int{1}, Grids: []chat.Grid{{Rows: 1, Cols: 3}}}
	b, err := packing.Build(packing.Shape{Rows: 2, T: 16, Patches: 4}, packing.Modes{Attention: packing.Document, Turns: packing.InConversation, Loss: packing.OnAll}, [][]*packing.Sample{{s}})
	require.NoError(t, err)
	pixels := make([]byte, 3*4*4*3)
	for i := range pixels {
		pixels[i] = byte(i * 37)
	}
	targets, err := h.in.Upload(h.dev, b, pixels, &h.step)
	require.NoError(t, err)
	h.step[SlotScale] = math.Float32bits(1 / float32(targets))
	h.run()
	h.compareGradients(func(p *nn.Param) bool { return strings.HasPrefix(p.Name, "embedder.conv") })
}
