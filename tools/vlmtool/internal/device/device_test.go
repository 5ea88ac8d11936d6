package device

import (
	"bytes"
	"strings"
	"testing"

	"patchwork/engine"
)

// TestPrint prints devices that few machines have.
func TestPrint(t *testing.T) {
	for _, c := range []struct {
		info       engine.Info
		want, none string
	}{
		{engine.Info{Device: "webgpu:0", Features: []string{"timestamp-query"}}, "has      timestamps\n", "timestamp-query"},
		{engine.Info{Device: "cpu", Features: []string{"avx2", "fma"}}, "has      avx2, fma\n", "avx2 fma"},
		{engine.Info{Device: "vulkan:0", Kind: engine.Null, Limits: engine.Limits{MaxBindingBytes: 1 << 30}}, "nothing can run on it\n", "a binding"},
		{engine.Info{Device: "vulkan:0", Kind: "discrete"}, "memory   unknown\n", "nothing"},
	} {
		var out bytes.Buffer
		Print(&out, c.info)
		if s := out.String(); !strings.Contains(s, c.want) || strings.Contains(s, c.none) {
			t.Errorf("%s: want %q and not %q in\n%s", c.info.Device, c.want, c.none, s)
		}
	}
}

// TestKnownPeak checks that names which only begin like a known one have no peak.
func TestKnownPeak(t *testing.T) {
	for _, c := range []struct {
		name, dtype string
		want        float64
	}{
		{"NVIDIA H100 80GB HBM3", "bf16", 989}, {"NVIDIA H100 80GB HBM3", "f32", 67}, {"NVIDIA H200", "f16", 989},
		{"NVIDIA H100 PCIe", "bf16", 0}, {"NVIDIA H100 NVL", "bf16", 0}, {"NVIDIA H200 NVL", "bf16", 0}, {"llvmpipe (LLVM 15.0.6, 256 bits)", "f32", 0}, {"", "f32", 0},
		{"NVIDIA H200 MIG 1g.18gb", "bf16", 0}, {"NVIDIA A100-SXM4-80GB", "bf16", 312}, {"NVIDIA A100 80GB PCIe", "f32", 19.5}, {"NVIDIA A10", "bf16", 0},
		{"NVIDIA L40S", "f16", 362.05}, {"NVIDIA L40", "f16", 0},
		{"NVIDIA GeForce RTX 3090", "bf16", 71}, {"NVIDIA GeForce RTX 3090 Ti", "bf16", 0}, {"NVIDIA GeForce RTX 4090", "f32", 82.6}, {"NVIDIA GeForce RTX 4090 Laptop GPU", "f32", 0},
		{"NVIDIA GeForce RTX 5090", "f16", 209.5}, {"NVIDIA GeForce RTX 5090 D", "f16", 0},
		{"AMD Radeon RX 7900 XTX (RADV NAVI31)", "f16", 122.8}, {"AMD Radeon RX 7900 XT (RADV NAVI31)", "f16", 0}, {"AMD Instinct MI300X", "bf16", 1307.4},
		{"Intel(R) Arc(tm) B580 Graphics (BMG G21)", "f16", 116.5}, {"Intel(R) Arc(TM) A770 Graphics", "f32", 17.2}, {"Intel(R) Arc(tm) A770M Graphics (DG2)", "f32", 0},
	} {
		if got := KnownPeak(c.name, c.dtype); got != c.want {
			t.Errorf("%s in %s: %g TFLOP/s, want %g", c.name, c.dtype, got, c.want)
		}
	}
}

// slow is a device that takes long to compile.
type slow struct {
	engine.Device
	report func(kernels int)
}

func (s *slow) Info() engine.Info                      { return engine.Info{Device: "vulkan:1", Name: "a GPU"} }
func (s *slow) OnSlowCompile(report func(kernels int)) { s.report = report }

func TestReportCompiling(t *testing.T) {
	var said string
	dev := &slow{}
	ReportCompiling(dev, func(line string) { said = line })
	dev.report(41)
	if want := "compiling 41 kernels for vulkan:1 (a GPU)"; said != want {
		t.Errorf("said %q, want %q", said, want)
	}
	ReportCompiling(dev.Device, nil) // one that does not report it
}
