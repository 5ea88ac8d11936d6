package pretrained_test

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"patchwork/engine"
	"patchwork/engine/cpu"
	"patchwork/internal/require"
	"patchwork/nn"
	"patchwork/nn/gguf"
	"patchwork/vlm"
	"patchwork/vlm/internal/vlmtest"
	"patchwork/vlm/packing"
	"patchwork/vlm/pretrained"
)

// savedModel is a random model of the shapes preset with a Llama of 256 columns, in a folder.
func savedModel(t *testing.T) (folder string, l *vlm.Runner) {
	t.Helper()
	c := vlmtest.Config(t, packing.Document)
	text := c.Text
	text.HiddenSize, text.IntermediateSize, text.NumAttentionHeads, text.NumKeyValueHeads, text.HeadDim = 256, 512, 4, 2, 64
	l = vlmtest.ModelWithConfig(t, cpu.Open(0), c.WithText(text), 0)
	t.Cleanup(l.Close)
	folder = filepath.Join(t.TempDir(), "model")
	require.NoError(t, pretrained.Save(l.Model, l.Processor, folder, pretrained.ValuesOn(l.Model, l.Device)))
	return folder, l
}

func values(t *testing.T, l *vlm.Runner, p *nn.Param) []float32 {
	return require.Value(l.Params.Read(l.Device, l.Params.Weights, l.Params.ByName(p.Name)))(t)
}

// relativeError is the norm of x - want over that of want.
func relativeError(x, want []float32) float64 {
	var off, all float64
	for i := range want {
		off += math.Pow(float64(x[i]-want[i]), 2)
		all += math.Pow(float64(want[i]), 2)
	}
	return math.Sqrt(off / max(all, 1e-30)) // biases start at 0
}

// TestQuantized exports a model in every type and compares what the file holds, loaded as it is
// stored, with the model; the file written again from itself is the same.
func TestQuantized(t *testing.T) {
	folder, reference := savedModel(t)
	tolerance := map[string]float64{
		"f32": 0, "f16": 0.0004, "bf16": 0.003, "q8_0": 0.006, "q4_0": 0.1, "q4_1": 0.09, "q5_0": 0.05, "q5_1": 0.045,
		"q4_k": 0.09, "q5_k": 0.045, "q6_k": 0.021, "q4_k_m": 0.09, "q5_k_m": 0.045,
	}
	for _, kind := range pretrained.Quantizations() {
		t.Run(kind, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "m.gguf")
			d, err := pretrained.Export(t.Context(), pretrained.ExportOptions{Model: folder, Out: file, Quantize: kind})
			require.NoError(t, err)
			l, err := pretrained.LoadWith(file, cpu.Open(0), pretrained.LoadOptions{Weights: pretrained.WeightsAuto})
			require.NoError(t, err)
			defer l.Close()
			matrices := 0
			for _, p := range reference.Params.All() {
				limit := tolerance[kind]
				if _, ok := l.Params.ByName(p.Name).Format(); ok {
					matrices++
				} else {
					limit = min(limit, tolerance["bf16"])
				}
				if e := relativeError(values(t, l, p), values(t, reference, p)); !(e <= limit) {
					t.Errorf("%s: relative error %.4f, want at most %g", p.Name, e, limit)
				}
			}
			if quantised := len(kind) > 3 && kind != "bf16"; quantised != (matrices == 15) {
				t.Errorf("%d matrices are quantised", matrices)
			}
			again := filepath.Join(t.TempDir(), "m.gguf")
			_, err = pretrained.Export(t.Context(), pretrained.ExportOptions{Model: file, Out: again, Quantize: kind})
			require.NoError(t, err)
			if !bytes.Equal(require.Value(os.ReadFile(file))(t), require.Value(os.ReadFile(again))(t)) {
				t.Error("exporting the file again gives another file")
			}
			var bytes int64
			for _, u := range d.Types {
				bytes += u.Bytes
			}
			t.Logf("%d bytes of tensors", bytes)
		})
	}
}

// TestQuantizedMix: q4_k_m keeps the head and some layers' projections at 6 bits, and rows that
// have no whole blocks get the next format that has.
func TestQuantizedMix(t *testing.T) {
	folder, _ := savedModel(t)
	file := filepath.Join(t.TempDir(), "m.gguf")
	_, err := pretrained.Export(t.Context(), pretrained.ExportOptions{Model: folder, Out: file, Quantize: "q4_k_m"})
	require.NoError(t, err)
	f, err := gguf.Open(file)
	require.NoError(t, err)
	defer f.Close()
	for name, want := range map[string]gguf.Type{
		"token_embd.weight": gguf.Q6_K, "blk.0.attn_q.weight": gguf.Q4_K, "blk.0.ffn_up.weight": gguf.Q4_K,
		"blk.0.attn_norm.weight": gguf.F32, "v.fc.weight": gguf.F16, "mm.weight": gguf.F16, "v.y_pos_emb": gguf.F32,
	} {
		if got, ok := f.Tensor(name); !ok || got.Type != want {
			t.Errorf("%s is %v, want %v", name, got.Type, want)
		}
	}
	l := vlmtest.Model(t, cpu.Open(0), packing.Document) // of 96 columns
	narrow := filepath.Join(t.TempDir(), "narrow")
	require.NoError(t, pretrained.Save(l.Model, l.Processor, narrow, pretrained.ValuesOn(l.Model, l.Device)))
	small, err := pretrained.LoadWith(narrow, cpu.Open(0), pretrained.LoadOptions{Weights: "q4_k"})
	require.NoError(t, err)
	defer small.Close()
	if got := small.WeightsName(); got != "q5_0" {
		t.Errorf("rows of 96 values asked for q4_k are in %s, want q5_0", got)
	}
}

// TestQuantizedErrors: a model with values that are not finite, and a file that was cut short, are
// errors of one line that leave no file.
func TestQuantizedErrors(t *testing.T) {
	folder, l := savedModel(t)
	p := l.Params.ByName("decoder.model.layers.1.mlp.up_proj.weight")
	x := values(t, l, p)
	x[700] = float32(math.Inf(1))
	require.NoError(t, l.Params.Write(l.Device, p, x))
	broken := filepath.Join(t.TempDir(), "broken")
	require.NoError(t, pretrained.Save(l.Model, l.Processor, broken, pretrained.ValuesOn(l.Model, l.Device)))
	out := filepath.Join(t.TempDir(), "m.gguf")
	_, err := pretrained.Export(t.Context(), pretrained.ExportOptions{Model: broken, Out: out, Quantize: "q8_0"})
	if err == nil || err.Error() != `tensor "blk.1.ffn_up.weight": value 700 is +Inf; the model is damaged, or its training diverged` {
		t.Errorf("got %v", err)
	}
	if _, err := os.Stat(out); !os.IsNotExist(err) {
		t.Errorf("the file is there: %v", err)
	}
	_, err = pretrained.Export(t.Context(), pretrained.ExportOptions{Model: folder, Out: out, Quantize: "q8_0"})
	require.NoError(t, err)
	data := require.Value(os.ReadFile(out))(t)
	for _, n := range []int{3, 100, len(data) / 2, len(data) - 100} {
		require.NoError(t, os.WriteFile(out, data[:n], 0o644))
		if _, err := pretrained.Load(out, cpu.Open(0)); err == nil {
			t.Errorf("a file cut to %d bytes of %d is loaded", n, len(data))
		} else if got := fmt.Sprint(err); bytes.ContainsRune([]byte(got), '\n') {
			t.Errorf("several lines: %q", got)
		}
	}
}

// smallDevice is the CPU with little memory.
type smallDevice struct {
	*cpu.Device
	memory int64
}

func (d smallDevice) Info() engine.Info {
	info := d.Device.Info()
	info.Device, info.Kind, info.Memory = "small:0", "discrete", d.memory
	return info
}

// TestDoesNotFit: a model that is larger than a device's memory is an error before it is allocated,
// with the type that would fit.
func TestDoesNotFit(t *testing.T) {
	folder, l := savedModel(t)
	for _, c := range []struct {
		memory int64
		want   string
	}{
		{l.WeightBytes() - 1, "; --weights q8_0 takes "}, {l.WeightBytes() / 4, "; --weights q"}, {1 << 10, "; no --weights makes it fit"},
	} {
		_, err := pretrained.Load(folder, smallDevice{cpu.Open(0), c.memory})
		if !errors.Is(err, engine.ErrOutOfMemory) || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "small:0 has "+engine.Bytes(c.memory)) {
			t.Errorf("%d bytes: got %v, want %q", c.memory, err, c.want)
		}
	}
	fits, err := pretrained.LoadWith(folder, smallDevice{cpu.Open(0), l.WeightBytes() / 2}, pretrained.LoadOptions{Weights: "q8_0"})
	require.NoError(t, err)
	fits.Close()
}
