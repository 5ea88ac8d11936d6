package shaders

import "testing"

// TestNeeds holds what is read from the modules to what their sources say.
func TestNeeds(t *testing.T) {
	for _, c := range []struct {
		kernel  *Kernel
		variant string
		want    Needs
	}{
		{Add, "", Needs{64, 0, false}},
		{ClipFactor, "", Needs{1, 0, false}},
		{ArgMax, "", Needs{128, 128 * 8, false}},
		{ArgMax, "lanes", Needs{8, 8 * 8, false}},
		{MatMul, "rows4", Needs{64, 64 * 16, false}},
		{MatMul, "lanes4", Needs{8, 0, true}},
		// Two tiles of depth·(16·blocks+1) vec4.
		{MatMul, "tile64", Needs{256, 2 * 16 * 17 * 16, false}},
		{MatMul, "tile128", Needs{256, 2 * 8 * 33 * 16, false}},
		// 32 intervals, one more, 256 vec4, three times 32 floats.
		// A tile's weights.
		{Attention, "subgroup.d64x4", Needs{8, 256 * 16, true}},
		{AttentionBackward, "subgroup.d64x4", Needs{8, 2 * 256 * 16, true}},
		{Attention, "d64x4", Needs{64, 32*16 + 16 + 256*16 + 3*32*4, false}},
	} {
		got, err := c.kernel.Needs(c.kernel.variant(t, c.variant))
		if err != nil || got != c.want {
			t.Errorf("%s %q needs %+v (%v), want %+v", c.kernel.Name, c.variant, got, err, c.want)
		}
	}
	if _, err := readNeeds([]byte("no SPIR-V")); err == nil {
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

func product(m, n, k int) MatMulParams {
	return MatMulParams{M: N(m), N: uint32(n), K: N(k), LDA: uint32(k), LDB: uint32(n), LDC: uint32(n), Batch: 1, Alpha: 1}
}

// TestChooseFor: tuning comes first, the class second, and limits bind both.
func TestChooseFor(t *testing.T) {
	large := product(1024, 1024, 1024)
	transposed := product(1, 576, 577)
	transposed.TransB, transposed.LDB = 1, 577
	tuned := Choices{MatMul.Bucket(large, Storage{}): "tile64", MatMul.Bucket(transposed, Storage{}): "rows4"}
	for _, c := range []struct {
		name   string
		params MatMulParams
		target Target
		want   string
		tuned  bool
	}{
		{"software", large, Target{Class: Software}, "wide4", false},
		{"software with subgroups", large, Target{Class: Software, Subgroup: 8}, "lanes4", false},
		{"software with other subgroups", large, Target{Class: Software, Subgroup: 16}, "wide4", false},
		{"software, odd rows", product(1024, 577, 1023), Target{Class: Software, Subgroup: 8}, "lanes", false},
		{"software, odd rows, no subgroups", product(1024, 577, 1023), Target{Class: Software}, "tall", false},
		{"discrete", large, Target{Class: Discrete}, "tile128", false},
		{"integrated", large, Target{Class: Integrated}, "tile128", false},
		{"tuned", large, Target{Class: Discrete, Tuned: tuned}, "tile64", true},
		{"tuned to another class's", large, Target{Class: Software, Tuned: tuned}, "tile64", true},
		{"another shape of the bucket", product(600, 700, 513), Target{Class: Discrete, Tuned: tuned}, "tile64", true},
		{"another bucket", product(2048, 1024, 1024), Target{Class: Discrete, Tuned: tuned}, "tile128", false},
		{"tuned, but K is no multiple of 4", transposed, Target{Class: Discrete, Tuned: tuned}, "rows", false},
		{"workgroups of 128", large, Target{Class: Discrete, Invocations: 128}, "tall", false},
		{"tuned beyond the limits", large, Target{Class: Discrete, Invocations: 128, Tuned: tuned}, "tall", false},
		{"room for the smaller tile", large, Target{Class: Discrete, WorkgroupMemory: 8448 - 1}, "tall", false},
		{"room for the larger tile alone", large, Target{Class: Discrete, WorkgroupMemory: 8448}, "tile128", false},
	} {
		v, isTuned := MatMul.ChooseFor(c.params, Storage{}, c.target)
		if v == nil || v.Name != c.want || isTuned != c.tuned {
			t.Errorf("%s: %+v, tuned %v; want %q, %v", c.name, v, isTuned, c.want, c.tuned)
		}
	}
	if v, _ := ArgMax.ChooseFor(ArgMaxParams{Rows: N(1), Cols: 9, LD: 9}, Storage{}, Target{Invocations: 4}); v != nil {
		t.Errorf("chose %q on a device of 4 invocations", v.Name)
	}
}

// TestLongAttention: a variant that llvmpipe would not let end is not chosen, and
// where none would end, there is none.
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
		{Attention, call(1, 32768, 9, 3, 64), Discrete, "rows"},
		{Attention, call(8192, 8192, 32, 1, 128), Software, "subgroup.d64x4"},
		{AttentionBackward, call(8192, 8192, 9, 3, 64), Software, "subgroup.d64x4"},
		{AttentionBackward, call(8192, 8192, 16, 8, 128), Software, "subgroup.d64x4"},
		{AttentionBackward, call(8192, 8192, 32, 1, 128), Software, "-"},
		{AttentionBackward, call(8192, 8192, 32, 1, 128), Discrete, "d128x4"},
	} {
		got := "-"
		if v, _ := c.kernel.ChooseFor(c.params, Storage{}, Target{Class: c.class, Subgroup: 8}); v != nil {
			got = v.Name
		}
		if got != c.want {
			t.Errorf("%s %+v on class %d: %s, want %s", c.kernel.Name, c.params, c.class, got, c.want)
		}
	}
}

// TestSourceHash: every kernel's differs, or a change would not be noticed.
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
