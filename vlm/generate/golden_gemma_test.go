package generate

import (
	"context"
	"fmt"
	"math/rand/v2"
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
// cache on every device, with prompts in one pass and in several, past the ends of windows, and with
// passes so small that the caches of layers with a window are rings.
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
						for _, sizes := range [][]int{passSizes, {1, 4, 24}} {
							for _, chunk := range []int{len(ids), 7} {
								got := withPasses(sizes, func() []int32 {
									return gemmaContinuation(t, &vlm.Runner{Model: m, Device: dev}, ids, chunk, len(want.IDs), greedy.Suppressed)
								})
								if !slices.Equal(got, want.IDs) {
									t.Errorf("%s, %d tokens at a time in passes of %v: continuation\n %v, want\n %v", name, chunk, sizes, got, want.IDs)
								}
							}
						}
					}
				})
			}
		}
	}
}

// withPasses runs a function with passes of other sizes.
func withPasses[T any](sizes []int, f func() T) T {
	before := passSizes
	passSizes = sizes
	defer func() { passSizes = before }()
	return f()
}

// TestGoldenGemmaRing: a sequence that continues otherwise than the one in the cache gives the logits
// that it has alone, whether the rings still hold the keys that it sees or not.
func TestGoldenGemmaRing(t *testing.T) {
	for _, family := range []string{"tiny_gemma3", "tiny_gemma4"} {
		dir := golden.Dir(t, family)
		dev := devices.Open(t)[0]
		m := gemmaModel(t, dir, dev)
		random := rand.New(rand.NewPCG(1, 2))
		tokens := func(n int) (ids []int32) {
			for range n {
				ids = append(ids, int32(3+random.IntN(300)))
			}
			return ids
		}
		// Sums of 32 bits differ with the passes, and may round a key of 16 bits otherwise. A key that is
		// missing or wrong changes logits by several units.
		for cacheType, atol := range map[vlm.CacheType]float64{vlm.CacheAuto: 5e-4, "bf16": 2e-2} {
			m.StoreCache(cacheType)
			withPasses([]int{1, 4, 24}, func() bool {
				ctx, g := context.Background(), New(&vlm.Runner{Model: m, Device: dev})
				defer g.Close()
				first, reused, recomputed := tokens(200), 0, 0
				for _, kept := range []int{0, 199, 190, 180, 150, 120, 90, 60, 199, 10} {
					ids := append(slices.Clone(first[:kept]), tokens(200-kept)...)
					require.NoError(t, g.reserveCache(ctx, 240))
					got, cached := gemmaLogits(t, g, ids)
					alone := New(&vlm.Runner{Model: m, Device: dev})
					require.NoError(t, alone.reserveCache(ctx, 240))
					want, _ := gemmaLogits(t, alone, ids)
					alone.Close()
					golden.Compare(t, fmt.Sprintf("%s: %d tokens kept, %d cached", family, kept, cached), got, want, golden.Tolerance{Atol: atol})
					switch {
					case cached > 0:
						reused++
					case kept > 0:
						recomputed++
					}
					first = ids
				}
				if reused < 2 || recomputed < 2 {
					t.Errorf("%d sequences were continued and %d computed again, want some of both", reused, recomputed)
				}
				return true
			})
		}
	}
}

// gemmaLogits are the logits after a prompt, and how many of its tokens were in the cache.
func gemmaLogits(t *testing.T, g *Generator, ids []int32) (logits []float32, cached int) {
	p, cached, err := g.prefill(context.Background(), sequence{ids: ids})
	require.NoError(t, err)
	logits = make([]float32, p.logits.Size())
	require.NoError(t, engine.DownloadTemp(g.Device, p.exe, p.logits.View(), logits))
	return logits, cached
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
