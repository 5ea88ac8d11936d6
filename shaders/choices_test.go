package shaders

import (
	"reflect"
	"regexp"
	"slices"
	"testing"
)

// TestRequirements compares what is read from the modules with what their sources declare.
func TestRequirements(t *testing.T) {
	for _, c := range []struct {
		kernel  *Kernel
		variant string
		want    Requirements
	}{
		{Accumulate, "", Requirements{64, 0, false}},
		{ClipFactor, "", Requirements{1, 0, false}},
		{ArgMax, "", Requirements{128, 128 * 8, false}},
		{ArgMax, "lanes", Requirements{8, 8 * 8, false}},
		{MatMul, "rows4", Requirements{64, 64 * 16, false}},
		{MatMul, "lanes4", Requirements{8, 0, true}},
		// Two tiles of depth·(16·blocks+1) vec4.
		{MatMul, "tile64", Requirements{128, 2 * 16 * 17 * 16, false}},
		{MatMul, "tile128", Requirements{256, 2 * 8 * 33 * 16, false}},
		// 64 and 32 lines of 9 vec4, 64 times 8 floats, two intervals.
		// A tile's weights.
		{Attention, "subgroup.d64x4", Requirements{8, 256 * 16, true}},
		{AttentionBackward, "subgroup.d64x4", Requirements{8, 2 * 256 * 16, true}},
		{Attention, "d64x4", Requirements{128, 64*9*16 + 32*9*16 + 64*8*4 + 2*16, false}},
	} {
		got, err := c.kernel.Requirements(c.kernel.variant(t, c.variant))
		if err != nil || got != c.want {
			t.Errorf("%s %q needs %+v (%v), want %+v", c.kernel.Name, c.variant, got, err, c.want)
		}
	}
	if _, err := ReadRequirements([]byte("no SPIR-V")); err == nil {
		t.Error("a damaged module was accepted")
	}
}

func (k *Kernel) variant(t *testing.T, name string) *Variant {
	t.Helper()
	for i := range k.Variants {
		if k.Variants[i].Name == name {
			return &k.Variants[i]
		}
	}
	t.Fatalf("%s has no variant %q", k.Name, name)
	return nil
}

func matmulOf(m, n, k int) MatMulParams {
	return MatMulParams{M: N(m), N: uint32(n), K: N(k), LDA: uint32(k), LDB: uint32(n), LDC: uint32(n), Batch: 1, Alpha: 1}
}

// TestChooseFor: tuning comes first, the class second, both within the limits.
func TestChooseFor(t *testing.T) {
	large := matmulOf(1024, 1024, 1024)
	transposed := matmulOf(1, 576, 577)
	transposed.TransB, transposed.LDB = 1, 577
	tuned := Choices{MatMul.Bucket(large, Storage{}): "tile64", MatMul.Bucket(transposed, Storage{}): "rows4"}
	for _, c := range []struct {
		name   string
		params MatMulParams
		target DeviceCaps
		want   string
		tuned  bool
	}{
		{"software", large, DeviceCaps{Class: Software}, "wide4", false},
		{"software with subgroups", large, DeviceCaps{Class: Software, Subgroup: 8}, "lanes4", false},
		{"software with other subgroups", large, DeviceCaps{Class: Software, Subgroup: 16}, "wide4", false},
		{"software, odd rows", matmulOf(1024, 577, 1023), DeviceCaps{Class: Software, Subgroup: 8}, "lanes", false},
		{"software, odd rows, no subgroups", matmulOf(1024, 577, 1023), DeviceCaps{Class: Software}, "tall", false},
		{"discrete", large, DeviceCaps{Class: Discrete}, "tile128x4", false},
		{"discrete, odd rows", matmulOf(1024, 1024, 1023), DeviceCaps{Class: Discrete}, "tile128", false},
		{"discrete, odd columns", matmulOf(1024, 1025, 1024), DeviceCaps{Class: Discrete}, "tile128", false},
		{"discrete, small", matmulOf(64, 1024, 1024), DeviceCaps{Class: Discrete}, "tile64x4", false},
		{"integrated", large, DeviceCaps{Class: Integrated}, "tile128x4", false},
		{"tuned", large, DeviceCaps{Class: Discrete, Tuned: tuned}, "tile64", true},
		{"tuned to another class's variant", large, DeviceCaps{Class: Software, Tuned: tuned}, "tile64", true},
		{"another shape of the bucket", matmulOf(600, 700, 513), DeviceCaps{Class: Discrete, Tuned: tuned}, "tile64", true},
		{"another bucket", matmulOf(2048, 1024, 1024), DeviceCaps{Class: Discrete, Tuned: tuned}, "tile128x4", false},
		{"tuned, but K is no multiple of 4", transposed, DeviceCaps{Class: Discrete, Tuned: tuned}, "rows", false},
		{"workgroups of 128", large, DeviceCaps{Class: Discrete, Invocations: 128}, "tile64x4", false},
		{"tuned beyond the limits", large, DeviceCaps{Class: Discrete, Invocations: 64, Tuned: tuned}, "tall", false},
		{"too little memory for the tile", large, DeviceCaps{Class: Discrete, WorkgroupMemory: 8448 - 1}, "tall", false},
		{"just enough memory for the tile", large, DeviceCaps{Class: Discrete, WorkgroupMemory: 8448}, "tile128x4", false},
	} {
		v, isTuned := MatMul.ChooseFor(c.params, Storage{}, c.target)
		if v == nil || v.Name != c.want || isTuned != c.tuned {
			t.Errorf("%s: %+v, tuned %v; want %q, %v", c.name, v, isTuned, c.want, c.tuned)
		}
	}
	if v, _ := ArgMax.ChooseFor(ArgMaxParams{Rows: N(1), Cols: 9, LD: 9}, Storage{}, DeviceCaps{Invocations: 4}); v != nil {
		t.Errorf("chose %q on a device of 4 invocations", v.Name)
	}
}

// TestTokenVariants checks the variants of a decoding step on a software device and on a
// GPU.
func TestTokenVariants(t *testing.T) {
	linear := func(k uint32) RMSNormLinearParams { return RMSNormLinearParams{Rows: 1, N: 960, K: k, LD: 960} }
	logits := func(cols uint32) ArgMaxParams { return ArgMaxParams{Rows: N(1), Cols: cols, LD: cols} }
	for _, c := range []struct {
		kernel        *Kernel
		params        any
		software, gpu string
	}{
		{RMSNormLinear, linear(576), "lane4", "rows4"},
		{RMSNormLinear, linear(578), "", ""},
		{RMSNormLinear, linear(65536), "rows4", "rows4"}, // a lane would loop for too long
		{ArgMax, logits(49152), "", "chunks"},
		{ArgMax, logits(384), "lanes", ""},
		{ArgMax, logits(1<<24 + 4), "", ""},
	} {
		for class, want := range map[Class]string{Software: c.software, Discrete: c.gpu} {
			v, _ := c.kernel.ChooseFor(c.params, Storage{}, DeviceCaps{Class: class, Subgroup: 8})
			if v == nil || v.Name != want {
				t.Errorf("%s %+v on class %d: %+v, want %q", c.kernel.Name, c.params, class, v, want)
			}
		}
	}
}

// TestLongAttention: a variant beyond llvmpipeLoopLimit is not chosen; where all are
// beyond it, there is none.
func TestLongAttention(t *testing.T) {
	call := func(queries, keys, heads, kv, d int) AttentionParams {
		return AttentionParams{Batch: 1, Queries: uint32(queries), Keys: uint32(keys), Heads: uint32(heads), KVHeads: uint32(kv), HeadDim: uint32(d)}
	}
	for _, c := range []struct {
		kernel *Kernel
		params AttentionParams
		class  Class
		want   string // "-" for none
	}{
		{Attention, call(1, 8192, 9, 3, 64), Software, "rows"},
		{Attention, call(1, 32768, 9, 3, 64), Software, "subgroup.d64x4"},
		{Attention, call(1, 32768, 9, 3, 64), Discrete, "rows4"},
		{Attention, call(8192, 8192, 32, 1, 128), Software, "subgroup.d64x4"},
		{AttentionBackward, call(8192, 8192, 9, 3, 64), Software, "subgroup.d64x4"},
		{AttentionBackward, call(8192, 8192, 16, 8, 128), Software, "subgroup.d64x4"},
		{AttentionBackward, call(8192, 8192, 32, 1, 128), Software, "-"},
		{AttentionBackward, call(8192, 8192, 32, 1, 128), Discrete, "d128x4"},
	} {
		got := "-"
		if v, _ := c.kernel.ChooseFor(c.params, Storage{}, DeviceCaps{Class: c.class, Subgroup: 8}); v != nil {
			got = v.Name
		}
		if got != c.want {
			t.Errorf("%s %+v on class %d: %s, want %s", c.kernel.Name, c.params, c.class, got, c.want)
		}
	}
}

// TestSourceHash: every kernel has a different hash.
func TestSourceHash(t *testing.T) {
	seen := map[string]string{}
	for _, k := range All() {
		h, err := k.SourceHash()
		if err != nil || seen[h] != "" {
			t.Errorf("%s: %q, as %q has: %v", k.Name, h, seen[h], err)
		}
		seen[h] = k.Name
	}
}

// TestCooperative: a variant with cooperative matrices runs on a device that meets all of
// its requirements, with the largest matrix that fits, and on no other.
func TestCooperative(t *testing.T) {
	bf16 := MatMul.Halves(BF16, "a", "b", "c")
	large := matmulOf(4096, 4096, 4096)
	odd := large
	odd.LDA = 4098
	all := MatMul.variant(t, "coopmat1.64x64.bf16-a-b-c").Cooperative.Caps(BF16)
	small := all.Matrices[0]
	small.M, small.N, small.K = 8, 8, 8
	other := all.Matrices[0]
	other.C, other.Result = "bf16", "bf16"
	with := func(change func(*DeviceCaps)) DeviceCaps {
		target := all
		target.Features = slices.Clone(all.Features)
		change(&target)
		return target
	}
	for _, c := range []struct {
		name   string
		params MatMulParams
		target DeviceCaps
		want   string
	}{
		{"all there is", large, all, "coopmat1.128x128.bf16-a-b-c"},
		{"fewer tiles", matmulOf(1024, 576, 576), all, "coopmat1.128x64.bf16-a-b-c"},
		{"few tiles", matmulOf(256, 576, 576), all, "coopmat1.64x64.bf16-a-b-c"},
		{"few rows", matmulOf(8, 576, 576), all, "coopmat1.32x64.bf16-a-b-c"},
		{"rows between quads", odd, all, "coopmat1.64x64.pairs.bf16-a-b-c"},
		{"32 KiB of workgroup memory", large, with(func(t *DeviceCaps) { t.WorkgroupMemory = 32 << 10 }), "coopmat1.128x128.x8.bf16-a-b-c"},
		{"subgroups of 64", large, with(func(t *DeviceCaps) { t.Subgroup = 64 }), "coopmat1.128x128.x8.bf16-a-b-c"},
		{"software", large, with(func(t *DeviceCaps) { t.Class = Software }), "wide4.bf16-a-b-c"},
		{"no bf16 matrices", large, with(func(t *DeviceCaps) {
			t.Features = slices.DeleteFunc(t.Features, func(f string) bool { return f == FeatureMatrixBF16 })
		}), "tile128x4.bf16-a-b-c"},
		{"only sums in bf16", large, with(func(t *DeviceCaps) { t.Matrices = []Matrix{other} }), "tile128x4.bf16-a-b-c"},
		{"workgroups of 64", large, with(func(t *DeviceCaps) { t.Invocations = 64 }), "tall.bf16-a-b-c"},
		{"measured", large, with(func(t *DeviceCaps) {
			t.Tuned = Choices{MatMul.Bucket(large, bf16): "coopmat1.128x128.x8.bf16-a-b-c"}
		}), "coopmat1.128x128.x8.bf16-a-b-c"},
		{"measured on a device that had more", large, with(func(t *DeviceCaps) {
			t.Tuned = Choices{MatMul.Bucket(large, bf16): "coopmat2.128x256.bf16-a-b-c"}
		}), "coopmat1.128x128.bf16-a-b-c"},
	} {
		if v, _ := MatMul.ChooseFor(c.params, bf16, c.target); v == nil || v.Name != c.want {
			t.Errorf("%s: got %+v, want %s", c.name, v, c.want)
		}
	}
	both := with(func(t *DeviceCaps) { t.Matrices = []Matrix{small, all.Matrices[0]} })
	v := MatMul.variant(t, "coopmat1.128x128.bf16-a-b-c")
	transposed := large
	transposed.TransB = 1
	if got, want := v.Constants(transposed, both), []uint32{128, 16, 16, 16, 0, 1}; !slices.Equal(got, want) {
		t.Errorf("constants %v, want %v", got, want)
	}
	for _, c := range []struct{ size, min, want int }{{32, 32, 128}, {64, 64, 256}, {64, 32, 128}, {64, 0, 256}, {16, 8, 64}} {
		target := both
		target.Subgroup, target.MinSubgroup = c.size, c.min
		if got := v.Constants(large, target)[0]; got != uint32(c.want) {
			t.Errorf("subgroups of %d, of at least %d: %d invocations, want %d", c.size, c.min, got, c.want)
		}
	}
	of8 := with(func(t *DeviceCaps) { t.Matrices = []Matrix{small} })
	if got := v.Constants(large, of8)[0]; got != 4*128 {
		t.Errorf("with matrices of 8×8, %d invocations, want 512", got)
	}
	second := MatMul.variant(t, "coopmat2.128x256.bf16-a-b-c")
	if target := second.Cooperative.Caps(BF16); !slices.Contains(MatMul.Runnable(large, bf16, target), second) || second.preferred(large, Discrete) {
		t.Error("coopmat2 must be available to tuning only")
	}
	if got, want := all.Matrices[0].String(), "16x16x16 bf16·bf16+f32"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

// TestCooperativeAttention: heads are padded to the columns of a variant; a few queries,
// odd heads and small memory select other variants.
func TestCooperativeAttention(t *testing.T) {
	s := Attention.Halves(BF16, "q", "k", "v", "y")
	all := Attention.variant(t, "coopmat1.d128.bf16-q-k-v-y").Cooperative.Caps(BF16)
	for _, c := range []struct {
		queries, dim uint32
		memory       int64
		want         string
	}{
		{1024, 64, 0, "coopmat1.d64.bf16-q-k-v-y"},
		{1024, 40, 0, "coopmat1.d64.bf16-q-k-v-y"},
		{1024, 72, 0, "coopmat1.d128.bf16-q-k-v-y"},
		{1024, 128, 48 << 10, "coopmat1.d128.bf16-q-k-v-y"},
		{1024, 128, 32 << 10, "d128x4.bf16-q-k-v-y"},
		{1024, 136, 0, "d128x4.bf16-q-k-v-y"},
		{1024, 60, 0, "d64x4.bf16-q-k-v-y"},
		{16, 64, 0, "d64x4.bf16-q-k-v-y"},
		{1, 64, 0, "rows4.bf16-q-k-v-y"},
		{1, 62, 0, "rows.bf16-q-k-v-y"},
	} {
		target := all
		target.WorkgroupMemory = c.memory
		p := AttentionParams{Batch: 1, Queries: c.queries, Keys: c.queries, Heads: 9, KVHeads: 3, HeadDim: c.dim}
		if v, _ := Attention.ChooseFor(p, s, target); v == nil || v.Name != c.want {
			t.Errorf("%d queries, heads of %d columns, %d bytes: got %+v, want %s", c.queries, c.dim, c.memory, v, c.want)
		}
	}
	wide := all
	wide.Subgroup, wide.WorkgroupMemory = 64, 64<<10
	for dim, want := range map[uint32]string{64: "coopmat1.d64.x16.bf16-q-k-v-y", 128: "coopmat1.d128.x16.bf16-q-k-v-y"} {
		p := AttentionParams{Batch: 1, Queries: 1024, Keys: 1024, Heads: 9, KVHeads: 3, HeadDim: dim}
		if v, _ := Attention.ChooseFor(p, s, wide); v == nil || v.Name != want {
			t.Errorf("subgroups of 64, heads of %d columns: got %+v, want %s", dim, v, want)
		}
	}
	v := AttentionBackward.variant(t, "coopmat1.d64.bf16-q-k-v-y-dy-dq-dk-dv")
	if got, want := v.Constants(AttentionParams{}, v.Cooperative.Caps(BF16)), []uint32{64, 16, 16, 16}; !slices.Equal(got, want) || !v.HasPassConstant() {
		t.Errorf("constants %v, want %v and the pass", got, want)
	}
}

// TestCooperativeMemory compares the workgroup memory that is read from the modules with
// the size of the tiles, or of two of each: lines of quads with one quad of padding.
func TestCooperativeMemory(t *testing.T) {
	for name, quads := range map[string]int64{
		"coopmat1.128x128":    2 * (128*5 + 128*5),
		"coopmat1.128x128.x8": 128*5 + 128*5,
		"coopmat1.128x64":     128*5 + 64*5,
		"coopmat1.64x64":      64*5 + 64*5,
		"coopmat1.32x64":      4 * 32 * 5, // its results
		"coopmat2.128x128":    0,
	} {
		got, err := MatMul.Requirements(MatMul.variant(t, name+".bf16-a-b"))
		if want := (Requirements{WorkgroupMemory: 16 * quads}); err != nil || got != want {
			t.Errorf("%s needs %+v (%v), want %+v", name, got, err, want)
		}
	}
}

// TestLayoutTags: parameters that are named like offsets, strides and sizes of rings are tagged as layout,
// and calls that differ only in them share a bucket.
func TestLayoutTags(t *testing.T) {
	named := regexp.MustCompile(`^(LD[A-Z]?|Stride[A-Z]?|\w*Slot|Base|At|Ring)$`)
	tagged := 0
	for _, k := range All() {
		params := reflect.New(k.params).Elem()
		before := k.Bucket(params.Interface(), Storage{})
		for i := range k.params.NumField() {
			field := k.params.Field(i)
			if named.MatchString(field.Name) != IsLayout(field) {
				t.Errorf("kernel %s, parameter %s: tagged as layout: %v", k.Name, field.Name, IsLayout(field))
			}
			if IsLayout(field) {
				tagged++
				params.Field(i).SetUint(96)
			}
		}
		if after := k.Bucket(params.Interface(), Storage{}); after != before {
			t.Errorf("kernel %s: bucket %q became %q by its layout", k.Name, before, after)
		}
	}
	if tagged == 0 {
		t.Error("no parameter is tagged")
	}
}

// TestScratchBinding: only the last binding can be scratch.
func TestScratchBinding(t *testing.T) {
	for _, k := range All() {
		for i, b := range k.Bindings {
			if want := k.HasScratch() && i == len(k.Bindings)-1; b.Scratch != want {
				t.Errorf("kernel %s, binding %s: scratch %v, want %v", k.Name, b.Name, b.Scratch, want)
			}
		}
	}
}
