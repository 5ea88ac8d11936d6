package shaders

import (
	"strings"
	"testing"
)

// TestSplit: deep matmuls with few tiles are split, others are not, and the scratch stays
// small.
func TestSplit(t *testing.T) {
	row := matmulOf(4, 2048, 6144)
	row.TransB = 1
	batch := matmulOf(128, 128, 4096)
	batch.Batch = 100
	for _, c := range []struct {
		name   string
		params MatMulParams
		parts  uint32
	}{
		{"a weight's gradient", matmulOf(576, 576, 16384), 10},
		{"of few rows", matmulOf(192, 576, 16384), 26},
		{"of half of a GPU's tiles", matmulOf(1536, 1408, 16384), 2},
		{"of more than half", matmulOf(1536, 1536, 16384), 0},
		{"of a small batch", matmulOf(576, 576, 2048), 4},
		{"too short", matmulOf(576, 576, 1536), 0},
		{"one tile", matmulOf(128, 128, 1<<20), 264},
		{"one token", row, 0},
		{"a batch", batch, 2},
		{"nothing", matmulOf(0, 576, 16384), 0},
		{"square", matmulOf(4096, 4096, 4096), 0},
	} {
		p := c.params.Split()
		if p.Parts != c.parts {
			t.Errorf("%s: %d parts, want %d", c.name, p.Parts, c.parts)
		}
		if n := MatMul.Scratch(p); n > 264*64<<10 || (n == 0) != (p.Parts < 2) {
			t.Errorf("%s: %d bytes of scratch for %d parts", c.name, n, p.Parts)
		}
	}
}

// TestTrainingShapes: the variants that a GPU with cooperative matrices of subgroups
// chooses for the layers of 8 rows of 2048 tokens, with fused projections, and the
// percentage of its processors' tiles that are filled, over all waves of workgroups.
func TestTrainingShapes(t *testing.T) {
	const tokens = 8 * 2048
	type choice struct {
		variant string
		parts   uint32
		filled  int
	}
	for _, c := range []struct {
		name        string
		in, out     int
		forward, dx choice
		whole, grad choice // the weight's gradient, without split-K, and as Split chooses
	}{
		{"135M qkv", 576, 960, choice{"128x128", 0, 90}, choice{"128x64", 0, 96}, choice{"128x64", 0, 17}, choice{"128x128.split", 6, 76}},
		{"135M o", 576, 576, choice{"128x64", 0, 96}, choice{"128x64", 0, 96}, choice{"64x64", 0, 12}, choice{"128x128.split", 10, 76}},
		{"135M gate+up", 576, 3072, choice{"128x128", 0, 96}, choice{"128x64", 0, 96}, choice{"128x64", 0, 54}, choice{"128x128.split", 2, 81}},
		{"135M down", 1536, 576, choice{"128x64", 0, 96}, choice{"128x128", 0, 96}, choice{"128x64", 0, 27}, choice{"128x128.split", 4, 81}},
		{"360M qkv", 960, 1600, choice{"128x128", 0, 86}, choice{"128x128", 0, 90}, choice{"128x64", 0, 47}, choice{"128x128.split", 2, 71}},
		{"360M o", 960, 960, choice{"128x128", 0, 90}, choice{"128x128", 0, 90}, choice{"128x64", 0, 28}, choice{"128x128.split", 4, 85}},
		{"360M gate+up", 960, 5120, choice{"128x128", 0, 96}, choice{"128x128", 0, 90}, choice{"128x64", 0, 75}, choice{"128x64", 0, 75}},
		{"360M down", 2560, 960, choice{"128x128", 0, 90}, choice{"128x128", 0, 96}, choice{"128x64", 0, 75}, choice{"128x64", 0, 75}},
		{"1.7B qkv", 2048, 4096, choice{"128x128", 0, 96}, choice{"128x128", 0, 96}, choice{"128x128", 0, 96}, choice{"128x128", 0, 96}},
		{"1.7B o", 2048, 2048, choice{"128x128", 0, 96}, choice{"128x128", 0, 96}, choice{"128x128", 0, 96}, choice{"128x128", 0, 96}},
		{"1.7B gate+up", 2048, 12288, choice{"128x128", 0, 99}, choice{"128x128", 0, 96}, choice{"128x128", 0, 96}, choice{"128x128", 0, 96}},
		{"1.7B down", 6144, 2048, choice{"128x128", 0, 96}, choice{"128x128", 0, 96}, choice{"128x128", 0, 96}, choice{"128x128", 0, 96}},
	} {
		for _, x := range []struct {
			name string
			p    MatMulParams
			want choice
		}{
			{"forward", matmulOf(tokens, c.out, c.in).Split(), c.forward},
			{"dx", matmulOf(tokens, c.in, c.out).Split(), c.dx},
			{"dW whole", matmulOf(c.out, c.in, tokens), c.whole},
			{"dW", matmulOf(c.out, c.in, tokens).Split(), c.grad},
		} {
			p := x.p
			v := largeGPU(t, p)
			name := strings.TrimSuffix(strings.TrimPrefix(v.Name, "coopmat1."), ".bf16-a-b")
			p.Batch = max(p.Parts, 1) // that many times the workgroups
			tile := map[string]coopTile{"128x128": squareTile, "128x64": narrowTile, "64x64": smallTile}[strings.TrimSuffix(name, ".split")]
			got := choice{name, p.Parts, int(100 * tile.filled(p))}
			if got != x.want {
				t.Errorf("%s %s: %+v, want %+v", c.name, x.name, got, x.want)
			}
		}
	}
}

// largeGPU is the variant that a GPU without tuned choices runs for operands in bf16.
func largeGPU(t *testing.T, p MatMulParams) *Variant {
	t.Helper()
	s := MatMul.Halves(BF16, "a", "b")
	target := MatMul.variant(t, "coopmat1.128x128.bf16-a-b").Cooperative.Caps(BF16)
	target.WorkgroupMemory = 48 << 10
	v, _ := MatMul.ChooseFor(p, s, target)
	if v == nil {
		t.Fatalf("no variant for %+v", p)
	}
	return v
}
