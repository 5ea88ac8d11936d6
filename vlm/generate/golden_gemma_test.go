package generate

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"patchwork/engine"
	"patchwork/engine/enginetest/devices"
	"patchwork/internal/golden"
	"patchwork/internal/require"
	"patchwork/nn/safetensors"
	"patchwork/vlm"
	"patchwork/vlm/packing"
)

// gemmaGreedy is greedy.json: continuations in which suppressed tokens are never chosen.
type gemmaGreedy struct {
	Suppressed []int32 `json:"suppressed_ids"`
	Sequences  map[string]struct {
		IDs []int32 `json:"ids"`
	} `json:"sequences"`
}

// TestGoldenGemmaGreedy compares greedy continuations of the tiny Gemma decoders with a key/value
// cache on every device, with prompts in one pass and in several, past the ends of windows.
func TestGoldenGemmaGreedy(t *testing.T) {
	for _, family := range []string{"tiny_gemma3", "tiny_gemma4"} {
		for _, dir := range golden.Dirs(t, family) {
			var greedy gemmaGreedy
			golden.JSON(t, filepath.Join(dir, "greedy.json"), &greedy)
			for _, dev := range devices.Open(t) {
				t.Run(family+"/"+dev.Info().Device, func(t *testing.T) {
					m := gemmaModel(t, dir, dev)
					for name, want := range greedy.Sequences {
						ids, ok := gemmaPrompt(t, dir, name)
						if !ok {
							continue
						}
						for _, chunk := range []int{len(ids), 7} {
							if got := gemmaContinuation(t, &vlm.Runner{Model: m, Device: dev}, ids, chunk, len(want.IDs), greedy.Suppressed); !slices.Equal(got, want.IDs) {
								t.Errorf("%s, %d tokens at a time: continuation\n %v, want\n %v", name, chunk, got, want.IDs)
							}
						}
					}
				})
			}
		}
	}
}

// gemmaPrompt returns a case's tokens; ok is false for one that is not here or has more than text.
func gemmaPrompt(t *testing.T, dir, name string) (ids []int32, ok bool) {
	inputs, err := safetensors.Open(filepath.Join(dir, "inputs.safetensors"))
	require.NoError(t, err)
	defer inputs.Close()
	if _, ok := inputs.Tensor(name + ".input_ids"); !ok {
		return nil, false
	}
	if slices.Max(require.Value(inputs.Int32(name+".mm_token_type_ids"))(t)) > 0 {
		return nil, false
	}
	return require.Value(inputs.Int32(name + ".input_ids"))(t), true
}

func gemmaModel(t *testing.T, dir string, dev engine.Device) *vlm.Model {
	data, err := os.ReadFile(filepath.Join(dir, "config.json"))
	require.NoError(t, err)
	text := require.Value(vlm.ParseText(data))(t)
	m, err := vlm.NewModel(vlm.Config{ModelType: vlm.ModelType, Text: text, ImageTokenID: -1, Attention: packing.Document, FormatVersion: vlm.FormatVersion}, vlm.Init{})
	require.NoError(t, err)
	require.NoError(t, m.Allocate(dev, false))
	t.Cleanup(m.Close)
	file, err := safetensors.Open(filepath.Join(dir, "model.safetensors"))
	require.NoError(t, err)
	defer file.Close()
	for _, p := range m.Params.All() {
		name := strings.TrimPrefix(p.Name, vlm.DecoderPrefix)
		if inner := strings.Replace(name, "model.", "model.language_model.", 1); text.ModelType == "gemma4_unified_text" {
			name = inner
		}
		values := require.Value(file.Float32(name))(t)
		if text.UnitNorms() && strings.HasSuffix(name, "norm.weight") {
			for i := range values {
				values[i]++
			}
		}
		require.NoError(t, m.Params.Write(dev, p, values))
	}
	return m
}

// gemmaContinuation generates greedily, the prompt some tokens at a time.
func gemmaContinuation(t *testing.T, runner *vlm.Runner, ids []int32, chunk, n int, suppressed []int32) []int32 {
	ctx, g := context.Background(), New(runner)
	defer g.Close()
	require.NoError(t, g.reserveCache(ctx, len(ids)+n))
	var p *pass
	for end := chunk; ; end += chunk {
		end = min(end, len(ids))
		var err error
		p, _, err = g.prefill(ctx, sequence{ids: ids[:end]})
		require.NoError(t, err)
		if end == len(ids) {
			break
		}
	}
	var out []int32
	for {
		logits := make([]float32, p.logits.Size())
		require.NoError(t, engine.DownloadTemp(runner.Device, p.exe, p.logits.View(), logits))
		best := int32(-1)
		for id := range int32(len(logits)) {
			if !slices.Contains(suppressed, id) && (best < 0 || logits[id] > logits[best]) {
				best = id
			}
		}
		if out = append(out, best); len(out) == n {
			return out
		}
		var err error
		p, err = g.decode(ctx, best)
		require.NoError(t, err)
	}
}
