package generate

import (
	"math"
	"slices"
	"strings"
	"testing"

	"patchwork/engine"
	"patchwork/engine/cpu"
	"patchwork/engine/enginetest/devices"
	"patchwork/internal/require"
	"patchwork/shaders"
	"patchwork/vlm"
	"patchwork/vlm/chat"
	"patchwork/vlm/internal/vlmtest"
	"patchwork/vlm/packing"
)

// TestCacheTypes: keys and values in another type than the activations give the logits to that
// type's precision, after a prompt in chunks, when the cache has grown and a prefix is reused,
// and after a decoded token.
func TestCacheTypes(t *testing.T) {
	smallPasses(t)
	wide := vlmtest.Config(t, packing.Document).Text
	// A token's keys are 3 blocks of 32, which end in the middle of a word.
	wide.NumAttentionHeads, wide.NumKeyValueHeads, wide.HeadDim = 6, 3, 32
	normed := *vlmtest.Qwen3(wide)
	normed.HeadDim = 64
	for _, dev := range devices.Open(t) {
		for _, c := range []struct {
			name        string
			text        vlm.TextConfig
			activations shaders.Type
			bounds      map[vlm.CacheType]float64 // of logits, as fractions of the largest
		}{
			// A number is rounded by up to 2⁻¹² of it in F16 and 2⁻⁹ in BF16, and by a 254th of its
			// block's largest in 8 bits. Sums of many average that.
			{"f32", wide, shaders.F32, map[vlm.CacheType]float64{"f32": 0, "f16": 0x1p-12, "bf16": 0x1p-9, vlm.CacheQ8: 1. / 254}},
			{"f32, qwen3", normed, shaders.F32, map[vlm.CacheType]float64{"f32": 0, vlm.CacheQ8: 1. / 254}},
			// F16 holds keys and values in BF16 exactly. What follows is rounded to BF16 too.
			{"bf16", wide, shaders.BF16, map[vlm.CacheType]float64{"f32": 0, "bf16": 0, "f16": 0, vlm.CacheQ8: 1./254 + 0x1p-9}},
		} {
			if strings.HasPrefix(dev.Info().Device, "webgpu") && c.name != "f32" {
				continue // the kernels are Vulkan's, whose compilation is faster
			}
			want := cacheLogits(t, dev, c.text, c.activations, vlm.CacheAuto)
			for cache, bound := range c.bounds {
				t.Run(dev.Info().Device+"/"+c.name+"/"+string(cache), func(t *testing.T) {
					for i, got := range cacheLogits(t, dev, c.text, c.activations, cache) {
						worst, most := largestDifference(got, want[i]), bound*float64(slices.Max(want[i]))
						t.Logf("after step %d logits differ by %.2g, at most %.2g", i, worst, most)
						if worst > most || (worst == 0) != (bound == 0) {
							t.Errorf("after step %d logits differ by %g, want at most %g", i, worst, most)
						}
					}
				})
			}
		}
	}
}

// cacheLogits are the logits after a prompt, after one that continues it and makes the cache grow,
// and after a decoded token.
func cacheLogits(t *testing.T, dev engine.Device, text vlm.TextConfig, activations shaders.Type, cache vlm.CacheType) [3][]float32 {
	t.Helper()
	l := vlmtest.ModelWithConfig(t, dev, vlmtest.Config(t, packing.Document).WithText(text), activations)
	l.StoreCache(cache)
	defer l.Close()
	g := New(l)
	defer g.Close()
	prompt := chat.Tokens{}
	for i := range cacheStep + 30 {
		prompt.IDs = append(prompt.IDs, int32(3+i*i%200))
	}
	var logits [3][]float32
	var cached int
	logits[0], _ = lastLogits(t, g, chat.Tokens{IDs: prompt.IDs[:cacheStep-40]}, nil)
	logits[1], cached = lastLogits(t, g, prompt, nil)
	if cached != cacheStep-40 {
		t.Errorf("%d tokens were cached, want %d", cached, cacheStep-40)
	}
	p, err := g.decode(t.Context(), 7)
	require.NoError(t, err)
	logits[2] = make([]float32, p.logits.Size())
	require.NoError(t, engine.DownloadTemp(dev, p.exe, p.logits.View(), logits[2]))
	return logits
}

func largestDifference(a, b []float32) (worst float64) {
	for i := range a {
		d := math.Abs(float64(a[i] - b[i]))
		if math.IsNaN(d) {
			return math.Inf(1)
		}
		worst = max(worst, d)
	}
	return worst
}

// TestCacheMemory: a cache in 8 bits takes 34 bytes for 32 values, and heads that are no multiple
// of 32 are an error.
func TestCacheMemory(t *testing.T) {
	text := vlmtest.Config(t, packing.Document).Text
	text.NumAttentionHeads, text.NumKeyValueHeads, text.HeadDim = 4, 2, 64
	m, err := vlm.NewModel(vlmtest.Config(t, packing.Document).WithText(text).Config, vlm.Init{})
	require.NoError(t, err)
	var got []int64
	for _, name := range vlm.CacheTypes {
		m.StoreCache(vlm.CacheType(name))
		got = append(got, vlm.NewCache(m, 100, 64).Buffers[0].Bytes)
	}
	// auto, f32, bf16, f16, q8_0
	if want := []int64{51200, 51200, 25600, 25600, 13600}; !slices.Equal(got, want) {
		t.Errorf("keys of 100 tokens take %v bytes in %v, want %v", got, vlm.CacheTypes, want)
	}
	text.HeadDim = 24
	m, err = vlm.NewModel(vlmtest.Config(t, packing.Document).WithText(text).Config, vlm.Init{})
	require.NoError(t, err)
	m.StoreCache(vlm.CacheQ8)
	const want = "keys and values in q8_0 need heads of a multiple of 32 columns, this model's have 24; store them as f16"
	if err := m.Allocate(cpu.Open(0), false); err == nil || err.Error() != want {
		t.Errorf("the error is %v, want %s", err, want)
	}
}
