package vlm

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
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

// TestGoldenGemma compares every stage, the loss and the gradients of the tiny Gemma models, with
// pictures and sound, on every device, with the configuration in both spellings; on the CPU also with
// NoFusion.
func TestGoldenGemma(t *testing.T) {
	for _, family := range []string{"tiny_gemma3", "tiny_gemma4"} {
		t.Run(family, func(t *testing.T) {
			for _, dir := range golden.Dirs(t, family) {
				for _, dev := range devices.Open(t) {
					for _, name := range gemmaCases(t, dir) {
						t.Run(dev.Info().Device+"/"+name, func(t *testing.T) {
							(&goldenGemma{t: t, dev: dev, dir: dir, name: name, config: "config.json"}).run()
						})
						if dev.Info().Device != "cpu" {
							continue
						}
						t.Run("cpu/"+name+"/no fusion", func(t *testing.T) {
							(&goldenGemma{t: t, dev: dev, dir: dir, name: name, config: "config.transformers.json", noFusion: true}).run()
						})
					}
				}
			}
		})
	}
}

// TestGoldenGemma16 compares logits, losses and gradients in bf16 on every device with the tolerances of
// golden/README.md for it, which are those of transformers. f16 is refused.
func TestGoldenGemma16(t *testing.T) {
	for _, family := range []string{"tiny_gemma3", "tiny_gemma4"} {
		for _, dir := range golden.Dirs(t, family) {
			for _, dev := range devices.Open(t) {
				for _, name := range gemmaCases(t, dir) {
					t.Run(family+"/"+dev.Info().Device+"/"+name, func(t *testing.T) {
						(&goldenGemma{t: t, dev: dev, dir: dir, name: name, config: "config.json", storage: shaders.BF16}).run16()
					})
				}
			}
			half := require.Value(NewModel((&goldenGemma{t: t, dir: dir, config: "config.json"}).whole(), Init{}))(t)
			half.Store(shaders.F16)
			if err := half.Allocate(devices.Open(t)[0], false); err == nil || !strings.Contains(err.Error(), "bf16") {
				t.Errorf("%s in f16: %v", dir, err)
			}
		}
	}
}

func (r *goldenGemma) run16() {
	r.inputs, r.want = r.open("inputs.safetensors"), r.open(r.name+".safetensors")
	r.load(r.whole())
	require.NoError(r.t, r.model.Params.SyncHalf(context.Background(), r.dev))
	var loss nn.HeadLoss
	exe := r.compile(true, func(g *nn.Graph) {
		loss = r.model.Loss(g, r.in, nil)
		g.Keep(loss.Sum)
	})
	require.NoError(r.t, exe.Run(context.Background(), &r.step))
	mean := r.temp(exe, loss.Sum)[0] / float32(r.targets)
	if want := r.tensor("loss_mean")[0]; math.Abs(float64(mean-want)) > 0.2 {
		r.t.Errorf("the mean loss is %v, want %v", mean, want)
	}
	if d := relativeDistance(r.logits(), r.tensor("act.logits")); !(d <= 0.1) {
		r.t.Errorf("the logits differ by %.3g of their norm, want at most 0.1", d)
	}
	var got, want []float32
	for _, p := range r.model.Params.All() {
		name := "grad." + r.fileName(p, func(name string) bool { _, ok := r.want.Tensor("grad." + name); return ok })
		if _, ok := r.want.Tensor(name); ok {
			got = append(got, require.Value(r.model.Params.Read(r.dev, r.model.Params.Grads, p))(r.t)...)
			want = append(want, ofAxis(p, r.tensor(name))...)
		}
	}
	if d := relativeDistance(got, want); len(want) > 0 && !(d <= 0.4) {
		r.t.Errorf("the gradients differ by %.3g of their norm, want at most 0.4", d)
	}
}

// relativeDistance is |got - want| / |want|.
func relativeDistance(got, want []float32) float64 {
	var difference, norm float64
	for i := range want {
		d := float64(got[i]) - float64(want[i])
		difference, norm = difference+d*d, norm+float64(want[i])*float64(want[i])
	}
	return math.Sqrt(difference / norm)
}

// gemmaCases are the cases of a directory.
func gemmaCases(t *testing.T, dir string) []string {
	inputs, err := safetensors.Open(filepath.Join(dir, "inputs.safetensors"))
	require.NoError(t, err)
	defer inputs.Close()
	var cases []string
	for _, name := range inputs.Names() {
		name, ok := strings.CutSuffix(name, ".input_ids")
		if !ok {
			continue
		}
		if _, err := os.Stat(filepath.Join(dir, name+".safetensors")); errors.Is(err, fs.ErrNotExist) {
			t.Logf("%s has no %s", dir, name)
			continue
		}
		cases = append(cases, name)
	}
	return cases
}

// goldenGemma compares a case of a directory.
type goldenGemma struct {
	t        *testing.T
	dev      engine.Device
	dir      string
	name     string
	config   string
	noFusion bool
	storage  shaders.Type // of activations and matrices

	inputs, want *safetensors.File
	model        *Model
	in           *Inputs
	targets      int
	step         [shaders.StepWords]uint32
}

func (r *goldenGemma) rtol(gpu float64) float64 {
	if r.dev.Info().Device == "cpu" {
		return 0
	}
	return gpu
}

func (r *goldenGemma) open(name string) *safetensors.File {
	file, err := safetensors.Open(filepath.Join(r.dir, name))
	require.NoError(r.t, err)
	r.t.Cleanup(func() { file.Close() })
	return file
}

// whole is the configuration; of a model with pictures and sound all of it.
func (r *goldenGemma) whole() Config {
	data, err := os.ReadFile(filepath.Join(r.dir, r.config))
	require.NoError(r.t, err)
	c := require.Value(ParseGemma(data))(r.t)
	if r.inputs == nil {
		return c
	}
	if _, ok := r.inputs.Tensor(r.name + ".pixel_values"); ok {
		info, _ := r.inputs.Tensor(r.name + ".pixel_values")
		c.Vision.MaxPatches = info.Shape[1]
	}
	return c
}

func (r *goldenGemma) ints(name string) []int32 {
	return require.Value(r.inputs.Int32(r.name + "." + name))(r.t)
}

func (r *goldenGemma) tensor(name string) []float32 {
	return require.Value(r.want.Float32(name))(r.t)
}

func (r *goldenGemma) run() {
	r.inputs, r.want = r.open("inputs.safetensors"), r.open(r.name+".safetensors")
	r.load(r.whole())
	trace := Trace{}
	var loss nn.HeadLoss
	exe := r.compile(true, func(g *nn.Graph) {
		loss = r.model.Loss(g, r.in, trace)
		g.Keep(loss.Sum)
	})
	require.NoError(r.t, exe.Run(context.Background(), &r.step))
	sum := r.temp(exe, loss.Sum)[0]
	golden.Compare(r.t, "loss_mean", []float32{sum / float32(r.targets)}, r.tensor("loss_mean"), golden.Tolerance{Atol: 3e-5, Rtol: r.rtol(1e-5)})
	r.compareStages(exe, trace)
	r.compareGradients()
	r.compareLogits("act.logits")
	if _, ok := r.want.Tensor("linear8.logits"); ok {
		config := r.whole()
		config.Text.RopeScaling = &RoPEScaling{Type: "linear", Factor: 8}
		r.load(config)
		r.compareLogits("linear8.logits")
	}
}

// load makes the model and its inputs.
func (r *goldenGemma) load(config Config) {
	model, err := newModel(config, Init{}, true) // the layer scalars have golden gradients too
	require.NoError(r.t, err)
	r.model = model
	model.Store(r.storage)
	require.NoError(r.t, model.Allocate(r.dev, true))
	r.t.Cleanup(model.Close)
	r.loadWeights()
	ids := r.ints("input_ids")
	n := len(ids)
	b := &packing.Batch{Shape: packing.Shape{Rows: 1, T: n}, IDs: ids, Targets: r.ints("targets"), Segments: make([]int32, n)}
	images, values := r.addPictures(b)
	r.addSound(b)
	r.layout(b)
	r.in = model.NewInputs(1, n, images, n)
	require.NoError(r.t, r.in.Allocate(r.dev))
	r.t.Cleanup(r.in.Close)
	if images > 0 { // the golden patches are not of bytes
		r.in.floatPixels = engine.NewBuffer("patches", 4*int64(r.in.patchSlots*config.Vision.Features()))
		memories, err := engine.Allocate(r.dev, "patches", r.in.floatPixels)
		require.NoError(r.t, err)
		r.t.Cleanup(func() { engine.Free(memories) })
		require.NoError(r.t, engine.Upload(r.dev, r.in.floatPixels.View().Slice(0, 4*int64(len(values))), values))
	}
	r.checkMasks(b)
	r.targets, err = r.in.Upload(r.dev, b, nil, &r.step)
	require.NoError(r.t, err)
	r.step[SlotScale] = math.Float32bits(1 / float32(r.targets))
}

// addPictures adds the places of the pictures' patches, without those of padding. It returns the number of
// pictures and the values of the patches.
func (r *goldenGemma) addPictures(b *packing.Batch) (images int, real []float32) {
	info, ok := r.inputs.Tensor(r.name + ".pixel_values")
	if !ok {
		return 0, nil
	}
	values := require.Value(r.inputs.Float32(r.name + ".pixel_values"))(r.t)
	positions, features := r.ints("image_position_ids"), info.Shape[2]
	for i := range len(positions) / 2 {
		if at := positions[2*i:][:2]; at[0] >= 0 {
			b.PatchGrid = append(b.PatchGrid, at[1], at[0]) // row and column
			real = append(real, values[i*features:][:features]...)
		}
	}
	return info.Shape[0], real
}

// addSound adds the frames of sound, without those of padding.
func (r *goldenGemma) addSound(b *packing.Batch) {
	info, ok := r.inputs.Tensor(r.name + ".audio_frames")
	if !ok {
		return
	}
	values, size := require.Value(r.inputs.Float32(r.name+".audio_frames"))(r.t), info.Shape[2]
	for i, real := range r.ints("audio_frames_mask") {
		if real != 0 {
			b.Frames = append(b.Frames, values[i*size:][:size]...)
		}
	}
}

// layout gives placeholders their slots and every token the keys that it attends to: all before it and
// those of its own picture, an unbroken run of placeholders.
func (r *goldenGemma) layout(b *packing.Batch) {
	const image, audio = 1, 3
	kinds := r.ints("mm_token_type_ids")
	var patches, frames int32
	end := b.T // of the keys that a token attends to
	b.Positions, b.Intervals = make([]int32, b.T), make([]int32, 4*b.T)
	for t := b.T - 1; t >= 0; t-- {
		if t == b.T-1 || kinds[t] != image || kinds[t+1] != image {
			end = t + 1
		}
		b.Positions[t], b.Intervals[4*t+3] = int32(t), int32(end)
	}
	for _, kind := range kinds {
		slot, frame := int32(-1), int32(-1)
		switch kind {
		case image:
			slot = patches
			patches++
		case audio:
			frame = frames
			frames++
		}
		b.ImageSlots, b.FrameSlots = append(b.ImageSlots, slot), append(b.FrameSlots, frame)
	}
}

// checkMasks compares the keys that each kind of layer attends to with the golden masks.
func (r *goldenGemma) checkMasks(b *packing.Batch) {
	for i, kind := range r.model.Config.Text.AttentionKinds() {
		allowed := r.ints([]string{"allowed.full", "allowed.sliding"}[i])
		intervals := kind.Intervals(b.Intervals, b.Positions, b.T, 0)
		for t := range b.T {
			for j := range b.T {
				v, key := intervals[4*t:], int32(j)
				got := key >= v[0] && key < v[1] || key >= v[2] && key < v[3]
				if got != (allowed[t*b.T+j] != 0) {
					r.t.Fatalf("layers of kind %d: token %d attends to token %d: %v, want %v", i, t, j, got, !got)
				}
			}
		}
	}
}

// fileName is a parameter's name in the golden files.
func (r *goldenGemma) fileName(p *nn.Param, has func(name string) bool) string {
	name, inDecoder := strings.CutPrefix(p.Name, DecoderPrefix)
	if !inDecoder {
		return "model." + strings.TrimSuffix(strings.TrimSuffix(name, ".x"), ".y")
	}
	if inner := strings.Replace(name, "model.", "model.language_model.", 1); has(inner) {
		return inner
	}
	return name
}

// ofAxis are the values of a table of positions in the files' table of both, [side, 2, E]: columns come
// first. Other parameters are as they are.
func ofAxis(p *nn.Param, values []float32) (out []float32) {
	axis := slices.Index([]string{".x", ".y"}, p.Name[len(p.Name)-2:])
	if axis < 0 {
		return values
	}
	for row := range p.Shape[0] {
		out = append(out, values[(2*row+axis)*p.Shape[1]:][:p.Shape[1]]...)
	}
	return out
}

func (r *goldenGemma) loadWeights() {
	file := r.open("model.safetensors")
	for _, p := range r.model.Params.All() {
		name := r.fileName(p, func(name string) bool { _, ok := file.Tensor(name); return ok })
		values, err := file.Float32(name)
		require.NoError(r.t, err)
		values = ofAxis(p, values)
		if r.model.Config.Text.UnitNorms() && strings.HasSuffix(name, "norm.weight") {
			for i := range values {
				values[i]++
			}
		}
		require.NoError(r.t, r.model.Params.Write(r.dev, p, values))
	}
}

func (r *goldenGemma) compile(train bool, f func(g *nn.Graph)) engine.Executable {
	program, err := nn.Record("gemma", nn.Options{Params: r.model.Params, Train: train, NoFusion: r.noFusion, Type: r.model.Storage()}, f)
	require.NoError(r.t, err)
	plan, err := r.model.Plan(program)
	require.NoError(r.t, err)
	exe, err := r.dev.Compile(plan, nil)
	require.NoError(r.t, err)
	r.t.Cleanup(exe.Free)
	return exe
}

func (r *goldenGemma) temp(exe engine.Executable, x *nn.Tensor) []float32 {
	values := make([]float32, x.Size())
	require.NoError(r.t, engine.DownloadTemp(r.dev, exe, x.View(), values))
	return values
}

func (r *goldenGemma) compareStages(exe engine.Executable, trace Trace) {
	compared := 0
	for _, name := range r.want.Names() {
		stage, ok := strings.CutPrefix(name, "act.")
		if !ok || stage == "logits" {
			continue
		}
		x, ok := trace[stage]
		if !ok {
			r.t.Errorf("the model has no stage %s", stage)
			continue
		}
		tol := golden.Tolerance{Atol: 5e-4, Rtol: r.rtol(1e-4)}
		if stage == "embeddings" {
			tol.Atol = 1e-5
		}
		got := r.temp(exe, x)
		if strings.HasPrefix(stage, "vision.") || strings.HasPrefix(stage, "audio.") {
			tol.Atol = 1e-5
			got = got[:len(r.tensor(name))] // capacity is larger
		}
		if len(x.Shape) == 4 { // [1,T,H,D], in the files [H,T,D]
			got = swapAxes(got, x.Shape[1], x.Shape[2], x.Shape[3])
		}
		golden.Compare(r.t, name, got, r.tensor(name), tol)
		compared++
	}
	if compared < 8 {
		r.t.Errorf("only %d stages compared", compared)
	}
}

func swapAxes(x []float32, a, b, c int) []float32 {
	out := make([]float32, len(x))
	for i := range a {
		for j := range b {
			copy(out[(j*a+i)*c:][:c], x[(i*b+j)*c:])
		}
	}
	return out
}

// compareGradients compares the gradient of every parameter, if the case has them, with the
// tolerances of golden/README.md.
func (r *goldenGemma) compareGradients() {
	has := func(name string) bool { _, ok := r.want.Tensor("grad." + name); return ok }
	missing := map[string]bool{}
	for _, name := range r.want.Names() {
		if name, ok := strings.CutPrefix(name, "grad."); ok {
			missing[name] = true
		}
	}
	if len(missing) == 0 {
		return
	}
	var difference, total, norm float64
	for _, p := range r.model.Params.All() {
		got, err := r.model.Params.Read(r.dev, r.model.Params.Grads, p)
		require.NoError(r.t, err)
		if p.Group != GroupBuffers {
			for _, v := range got {
				norm += float64(v) * float64(v)
			}
		}
		name := r.fileName(p, has)
		if !has(name) { // the committed set has not all of them
			continue
		}
		delete(missing, name)
		want := ofAxis(p, r.tensor("grad."+name))
		golden.Compare(r.t, "grad."+p.Name, got, want, golden.Tolerance{Atol: 5e-4, Rtol: r.rtol(1e-3)})
		for i := range want {
			d := float64(got[i]) - float64(want[i])
			difference, total = difference+d*d, total+float64(want[i])*float64(want[i])
		}
	}
	for name := range missing {
		r.t.Errorf("no parameter has the gradient of %s", name)
	}
	if relative := math.Sqrt(difference / total); !(relative <= 4e-5+r.rtol(6e-5)) {
		r.t.Errorf("all gradients differ by %.2g of their norm, want at most %.2g", relative, 4e-5+r.rtol(6e-5))
	}
	golden.Compare(r.t, "grad_norm", []float32{float32(math.Sqrt(norm))}, r.tensor("grad_norm"), golden.Tolerance{Atol: 9e-4, Rtol: r.rtol(1e-5)})
}

// compareLogits compares the logits of all tokens, computed one after another as in generation.
func (r *goldenGemma) compareLogits(name string) {
	golden.Compare(r.t, name, r.logits(), r.tensor(name), golden.Tolerance{Atol: 5e-4, Rtol: r.rtol(1e-4)})
}

func (r *goldenGemma) logits() (got []float32) {
	var all []*nn.Tensor
	exe := r.compile(false, func(g *nn.Graph) {
		x := r.model.Hidden(g, r.in, nil)
		for t := range x.Shape[0] {
			row := engine.NewBuffer(fmt.Sprintf("row %d", t), 4)
			_, err := engine.Allocate(r.dev, "rows", row)
			require.NoError(r.t, err)
			require.NoError(r.t, engine.Upload(r.dev, row.View(), []int32{int32(t)}))
			all = append(all, g.Keep(r.model.Logits(g, g.GatherRows(x, nn.Input(row, 1), 1))))
		}
	})
	require.NoError(r.t, exe.Run(context.Background(), &r.step))
	for _, x := range all {
		got = append(got, r.temp(exe, x)...)
	}
	return got
}
