package nn

import (
	"context"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"patchwork/engine"
	"patchwork/engine/enginetest/devices"
	"patchwork/internal/golden"
	"patchwork/internal/require"
	"patchwork/nn/safetensors"
	"patchwork/shaders"
)

// goldenIndex is golden/ops/index.json.
type goldenIndex struct {
	Ops map[string]struct {
		File  string
		Cases []goldenCase
	}
}

type goldenCase struct {
	Name    string
	Params  map[string]any
	Inputs  []string
	Outputs []string
	Shapes  map[string][]int
	Atol    map[string]float64
}

func (c goldenCase) float(name string) float64 { v, _ := c.Params[name].(float64); return v }
func (c goldenCase) int(name string) int       { return int(c.float(name)) }
func (c goldenCase) bool(name string) bool     { v, _ := c.Params[name].(bool); return v }

// goldenRun is one case on one device: tensors over the inputs, and the outputs
// under the golden names.
type goldenRun struct {
	goldenCase
	t      *testing.T
	g      *Graph
	dev    engine.Device
	file   *safetensors.File
	in     map[string]*Tensor
	ints   map[string][]int32
	step   [shaders.StepWords]uint32
	output map[string]engine.View
}

// TestGoldenOps runs every operator forward and backward on every device and
// compares it with the float64 values of the golden files.
func TestGoldenOps(t *testing.T) {
	for _, dir := range golden.Dirs(t, "ops") {
		var index goldenIndex
		golden.JSON(t, filepath.Join(dir, "index.json"), &index)
		for _, dev := range devices.Open(t) {
			for _, op := range slices.Sorted(maps.Keys(index.Ops)) {
				file, err := safetensors.Open(filepath.Join(dir, index.Ops[op].File))
				if err != nil {
					t.Fatal(err)
				}
				for _, c := range index.Ops[op].Cases {
					t.Run(fmt.Sprintf("%s/%s/%s", dev.Info().Device, op, c.Name), func(t *testing.T) {
						run := &goldenRun{goldenCase: c, t: t, dev: dev, file: file}
						run.run(op)
					})
				}
				file.Close()
			}
		}
	}
}

func (r *goldenRun) run(op string) {
	f, ok := goldenOps[op]
	if !ok {
		r.t.Fatalf("no test for operator %q", op)
	}
	r.in, r.ints, r.output = map[string]*Tensor{}, map[string][]int32{}, map[string]engine.View{}
	program, err := Record(op, Options{Train: true}, func(g *Graph) {
		r.g = g
		for _, name := range r.Inputs {
			r.load(name)
		}
		f(r)
		for _, name := range r.Outputs {
			in, isGradient := r.in[strings.TrimPrefix(name, "d")]
			if _, given := r.output[name]; !given && strings.HasPrefix(name, "d") && isGradient {
				r.output[name] = in.node.grad
			}
			if v := r.output[name]; v.Buffer != nil {
				g.Program.Keep(v.Buffer)
			}
		}
	})
	if err != nil {
		r.t.Fatal(err)
	}
	plan, err := engine.NewPlan(program, r.dev.Info().Limits.MaxBufferBytes)
	if err != nil {
		r.t.Fatal(err)
	}
	exe, err := r.dev.Compile(plan, nil)
	if err != nil {
		r.t.Fatal(err)
	}
	defer exe.Free()
	if err := exe.Run(context.Background(), &r.step); err != nil {
		r.t.Fatal(err)
	}
	for _, name := range r.Outputs {
		r.compare(exe, name)
	}
}

// load makes an input tensor; floats can take a gradient.
func (r *goldenRun) load(name string) {
	key := r.Name + "." + name
	tensor, ok := r.file.Tensor(key)
	if !ok {
		r.t.Fatalf("no tensor %s", key)
	}
	buffer := engine.NewBuffer(name, 4*int64(max(1, size(tensor.Shape))))
	if _, err := engine.Allocate(r.dev, name, buffer); err != nil {
		r.t.Fatal(err)
	}
	r.in[name] = Input(buffer, tensor.Shape...)
	var err error
	if tensor.DType == "I32" {
		r.ints[name], err = r.file.Int32(key)
		require.NoError(r.t, err)
		require.NoError(r.t, engine.Upload(r.dev, buffer.View(), r.ints[name]))
		return
	}
	values, err := r.file.Float32(key)
	require.NoError(r.t, err)
	require.NoError(r.t, engine.Upload(r.dev, buffer.View(), values))
	r.in[name].node.needsGrad = !strings.HasPrefix(name, "d")
}

// int32s makes an input tensor of the test's own values.
func (r *goldenRun) int32s(name string, values []int32) *Tensor {
	if len(values) == 0 {
		values = []int32{0}
	}
	buffer := engine.NewBuffer(name, 4*int64(len(values)))
	if _, err := engine.Allocate(r.dev, name, buffer); err != nil {
		r.t.Fatal(err)
	}
	require.NoError(r.t, engine.Upload(r.dev, buffer.View(), values))
	return Input(buffer, len(values))
}

// backward sets the gradient of y to the case's dy.
func (r *goldenRun) backward(y *Tensor) {
	r.output["y"] = y.View()
	r.g.SetGrad(y, r.in["dy"].View())
	r.g.Backward()
}

func (r *goldenRun) compare(exe engine.Executable, name string) {
	key := r.Name + "." + name
	tensor, _ := r.file.Tensor(key)
	if tensor.DType == "I32" {
		return // counts, which the host computes
	}
	want, err := r.file.Float32(key)
	require.NoError(r.t, err)
	got := make([]float32, len(want))
	switch v := r.output[name]; {
	case v.Buffer == nil:
		r.t.Fatalf("the operator has no output %s", name)
	case v.Buffer.Temporary():
		require.NoError(r.t, engine.DownloadTemp(r.dev, exe, v, got))
	default:
		require.NoError(r.t, engine.Download(r.dev, v, got))
	}
	// golden/README.md: the case's own atol, and an rtol for the device.
	rtol := 1e-5
	if r.dev.Info().Device != "cpu" {
		rtol = 1e-4
		if strings.HasPrefix(name, "d") {
			rtol = 1e-3
		}
	}
	golden.Compare(r.t, name, got, want, golden.Tolerance{Atol: r.Atol[name], Rtol: rtol})
}
