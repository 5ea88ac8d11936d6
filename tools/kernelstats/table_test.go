package main

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"patchwork/engine"
	"patchwork/engine/vulkan"
	"patchwork/internal/require"
)

// rdna3 is a listing of ACO, nak one of NAK.
const (
	rdna3 = `BB0:
	s_load_b128 s[8:11], s[2:3], null                           ; f4080201 f8000000
	s_buffer_load_b128 s[4:7], s[8:11], null                    ; f4280104 f8000000
	s_waitcnt lgkmcnt(0)                                        ; bf89fc07
	v_fma_f32 v0, v1, v2, v3                                    ; d6130000 040e0501
	v_add_f32 v0, v0, v1                                        ; 06000300
	v_dual_fmac_f32 v0, v1, v2 :: v_dual_mul_f32 v3, v4, v5     ; c80c0501 00020b04
	v_wmma_f32_16x16x16_f16 v[0:7], v[8:15], v[16:23], v[0:7]   ; cc404000 1c022108
	ds_load_b32 v4, v4 offset:512                               ; d8d80200 04000004
	global_store_b32 v0, v1, s[0:1]                             ; dc6a0000 00000100
	s_cbranch_scc0 BB3                                          ; bfa10010
	s_endpgm                                                    ; bfb00000
`
	nak = `block.u 0 L2 [] -> {
      b0      = bssy b0 pT L0                           // delay=1
      r2      = iadd3 r2 c[0x0][0x0] rZ                 // delay=1 wt=000010
      ur0     = ldc.b32 c[0x1][+0x0]                    // delay=1 wr:1
      ur2     = mov ur0                                 // delay=1 wt=000010
      p1 null = plop3 pT pT up0 LUT[0xaa] LUT[0x0]      // delay=13
      r28..32 = ld.global.a64.constant.b128 [r26..28]   // delay=1 rd:0 wr:1
                st.shared.strong.cta.b128 [r0] r16..20  // delay=1 rd:0
@p0   r5      = ffma r1 r2 r3                           // delay=4
@!p1            bra L1                                  // delay=1 wt=000101
} -> [1, 2]
`
)

func TestCountInstructions(t *testing.T) {
	for _, c := range []struct {
		listing string
		want    map[string]float64
	}{
		{rdna3, map[string]float64{"smem": 2, "salu": 2, "valu": 3, "fma": 3, "vopd": 1, "lds": 1, "vmem": 1, "branches": 1}},
		{nak, map[string]float64{"salu": 2, "valu": 3, "fma": 1, "vmem": 1, "lds": 1, "branches": 1, "smem": 1}},
		{"", map[string]float64{}},
	} {
		if got := countInstructions(c.listing); !reflect.DeepEqual(got, c.want) {
			t.Errorf("%.20s…: %v, want %v", c.listing, got, c.want)
		}
	}
}

// TestNormalised: the compiler's own count is taken instead of that of its listing.
func TestNormalised(t *testing.T) {
	got := normalised([]vulkan.Statistic{{Name: "VGPRs", Value: 96}, {Name: "Scratch size", Value: 256}, {Name: "VALU", Value: 7}, {Name: "Hash", Value: 1e9}}, rdna3)
	for name, want := range map[string]float64{"registers": 96, "local_bytes": 256, "valu": 7, "lds": 1} {
		if got[name] != want {
			t.Errorf("%s is %v, want %v", name, got[name], want)
		}
	}
	if len(normalised([]vulkan.Statistic{{Name: "Hash", Value: 1}}, "")) != 0 {
		t.Error("a hash is a column")
	}
}

func TestChip(t *testing.T) {
	for name, want := range map[string]string{
		"Null hardware (RADV NAVI31)": "navi31", "AMD Radeon RX 7900 XTX (RADV NAVI31)": "navi31", "NVIDIA RTX A2000 (NVK GA106)": "ga106",
		"NVIDIA H100 80GB HBM3": "NVIDIA H100 80GB HBM3", "llvmpipe (LLVM 15.0.6, 256 bits)": "llvmpipe", "": "",
	} {
		if got := chip(engine.Info{Name: name}); got != want {
			t.Errorf("%q is %q, want %q", name, got, want)
		}
	}
}

func sample() table {
	return table{Chip: "navi21", Device: "Null hardware (RADV NAVI21)", Driver: "radv Mesa 25", Class: "discrete", Rows: []row{
		{Kernel: "sum", Variant: "rows", Entry: "chunk", Subgroup: 64, Chosen: true, Columns: map[string]float64{"registers": 8, "local_bytes": 0, "code_bytes": 100}},
		{Kernel: "matmul", Variant: "coop.f16", Constants: []uint32{256, 1}, Required: 32, Subgroup: 32, Chosen: true, Columns: map[string]float64{"registers": 96, "local_bytes": 0}},
		{Kernel: "matmul", Variant: "coop.f16", Constants: []uint32{256, 0}, Required: 32, Subgroup: 32, Chosen: true, Columns: map[string]float64{"registers": 80, "local_bytes": 0}},
	}}
}

// TestCommitted writes a table and reads it back.
func TestCommitted(t *testing.T) {
	file, want := filepath.Join(t.TempDir(), "navi21.json"), sample()
	require.NoError(t, want.save(file))
	if got := require.Value(readTable(file))(t); !reflect.DeepEqual(got, want) {
		t.Errorf("read %+v, want %+v", got, want)
	}
	for text, wants := range map[string]string{
		"[1]": "is not a table", "{}": "names no chip",
		`{"chip":"x","columns":["registers"],"rows":[{"variant":"a","values":[1,2]}]}`: "2 values of 1 columns",
	} {
		require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
		if _, err := readTable(file); err == nil || !strings.Contains(err.Error(), wants) {
			t.Errorf("%s: %v, want %q", text, err, wants)
		}
	}
}

func TestCheck(t *testing.T) {
	declared := []exception{{chips: []string{"navi21"}, driver: "Mesa 25", pipelines: regexp.MustCompile(`^matmul\.coop\.`), reason: "a test"}}
	clean, spilled := sample(), sample()
	spilled.Rows[1].Columns["spilled"] = 3
	other := spilled
	other.Driver = "radv Mesa 22"
	unchosen := sample()
	unchosen.Rows[0].Columns["local_bytes"], unchosen.Rows[0].Chosen = 64, false
	for _, c := range []struct {
		name     string
		t        table
		declared []exception
		complete bool
		want     string // "" = nothing
	}{
		{"in registers", clean, nil, true, ""},
		{"not declared", spilled, nil, true, "matmul.coop.f16 on navi21 with 32 lanes: spilled 3"},
		{"declared", spilled, declared, true, ""},
		{"declared for another driver", other, declared, true, "spilled 3"},
		{"no longer occurs", clean, declared, true, "no longer occurs"},
		{"perhaps not selected", clean, declared, false, ""},
		{"not chosen", unchosen, nil, true, ""},
	} {
		got := strings.Join(c.t.check(c.declared, c.complete), "\n")
		if (c.want == "") != (got == "") || !strings.Contains(got, c.want) {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

// TestPage shows changed figures beside earlier ones, new pipelines without, and lists
// those that are gone.
func TestPage(t *testing.T) {
	dir := t.TempDir()
	before, now := filepath.Join(dir, "before"), filepath.Join(dir, "navi21.json")
	require.NoError(t, os.Mkdir(before, 0o700))
	old := sample()
	old.Rows[0].Columns["registers"] = 12
	old.Rows[1].Kernel = "product"
	require.NoError(t, old.save(filepath.Join(before, "any.json")))
	require.NoError(t, sample().save(now))
	times := filepath.Join(dir, "times.md")
	require.NoError(t, os.WriteFile(times, []byte("| navi21 | a step |\n"), 0o600))
	var page bytes.Buffer
	require.NoError(t, writePage(&page, []string{now}, before, times))
	for _, want := range []string{
		"| sum.rows (chunk) | 64 | 12 → 8 |", "| matmul.coop.f16 256,1 | 32 | 96 |", "No longer chosen", "| product.coop.f16 | 32 | 96 |", "| a step |",
	} {
		if !strings.Contains(page.String(), want) {
			t.Errorf("no %q in\n%s", want, page.String())
		}
	}
	if err := writePage(&page, []string{now}, dir+"/none", ""); err == nil || !strings.Contains(err.Error(), "it has no table") {
		t.Errorf("without tables before: %v", err)
	}
}

var update = flag.Bool("update", false, "write docs/kernel-statistics.md from the committed tables")

// TestPageCurrent: the page is what the committed tables, the exceptions and the texts here
// make, and what the tables have in memory is declared. The tables themselves are made by
// make kernelstats.
func TestPageCurrent(t *testing.T) {
	var files []string
	for _, chip := range []string{"navi31", "navi21", "vega10", "ampere"} {
		file := "testdata/" + chip + ".json"
		if _, err := os.Stat(file); err != nil && chip == "ampere" { // made where NVK is
			continue
		}
		files = append(files, file)
		for _, problem := range require.Value(readTable(file))(t).check(exceptions, true) {
			t.Error(problem)
		}
	}
	var want bytes.Buffer
	require.NoError(t, writePage(&want, files, "testdata/before", "testdata/times.md"))
	const page = "../../docs/kernel-statistics.md"
	if *update {
		require.NoError(t, os.WriteFile(page, want.Bytes(), 0o644))
	}
	if got := require.Value(os.ReadFile(page))(t); !bytes.Equal(got, want.Bytes()) {
		t.Error("docs/kernel-statistics.md is not what the committed tables make: go test ./tools/kernelstats -run PageCurrent -update")
	}
}

// TestMistakes: one line says what is wrong.
func TestMistakes(t *testing.T) {
	for _, c := range []struct {
		change func(*options)
		args   []string
		want   string
	}{
		{func(o *options) { o.kernel = "(" }, nil, "--kernel: "},
		{func(o *options) { o.class = "big" }, nil, "want discrete, integrated or software"},
		{func(o *options) { o.device = "cpu" }, nil, "want vulkan:N"},
		{func(o *options) {}, []string{"matmul"}, `unexpected "matmul"`},
		{func(o *options) { o.page = true }, nil, "--page wants"},
		{func(o *options) { o.page = true }, []string{"none.json"}, "none.json"},
	} {
		o := options{class: "discrete", device: "vulkan:0"}
		c.change(&o)
		var out bytes.Buffer
		if err := run(&out, &out, o, c.args); err == nil || strings.Contains(err.Error(), "\n") || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v: %v, want %q", c.args, err, c.want)
		}
	}
	if _, err := (selection{presets: []string{"shapes"}, dtypes: []string{"f64"}}).record(engine.Info{}); err == nil || !strings.Contains(err.Error(), "f64") {
		t.Errorf("f64: %v", err)
	}
}
