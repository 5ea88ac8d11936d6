package device

import "strings"

// devicePeak is a device's peak in TFLOP/s by its vendor's data, without sparsity: in
// bf16 and f16 on the matrix units with f32 accumulation, and in f32 outside them.
type devicePeak struct {
	names        string // as drivers report them, in lower case, separated by |
	half, single float64
}

// devicePeaks has exact names: laptop, PCIe and partitioned versions of a GPU, whose
// names begin alike, are slower.
var devicePeaks = []devicePeak{
	// NVIDIA H100 and H200 datasheets, SXM.
	{"nvidia h100 80gb hbm3|nvidia h200", h100Half, h100Single},
	// NVIDIA A100 datasheet: the same for every board.
	{"nvidia a100-sxm4-40gb|nvidia a100-sxm4-80gb|nvidia a100-pcie-40gb|nvidia a100 80gb pcie", 312, 19.5},
	// NVIDIA L40S datasheet.
	{"nvidia l40s", 362.05, 91.6},
	// NVIDIA Ampere GA102 whitepaper, "FP16 Tensor TFLOPS with FP32 Accumulate".
	{"nvidia geforce rtx 3090", 71, 35.6},
	// NVIDIA Ada whitepaper, the same line.
	{"nvidia geforce rtx 4090", 165.2, 82.6},
	// NVIDIA RTX Blackwell whitepaper, the same line.
	{"nvidia geforce rtx 5090", 209.5, 104.8},
	// AMD's product page; 96 units of 512 operations a cycle (WMMA) at 2.5 GHz.
	{"amd radeon rx 7900 xtx", 122.8, 61.4},
	// AMD Instinct MI300X datasheet.
	{"amd instinct mi300x", 1307.4, 163.4},
	// Intel's product page: half of its 233 TOPS in INT8; 20 cores of 256 operations a
	// cycle at the clock that the TOPS are for, 2.85 GHz.
	{"intel(r) arc(tm) b580 graphics", 116.5, 14.6},
	// Intel's product page: half of its 262 TOPS in INT8; 32 cores of 256 operations a
	// cycle at 2.1 GHz.
	{"intel(r) arc(tm) a770 graphics", 131, 17.2},
}

// An H100's dense peaks in TFLOP/s; float32 runs outside its tensor cores.
const (
	h100Half   = 989
	h100Single = 67
)

// H100Peak is the dense peak of an H100 SXM in TFLOP/s.
func H100Peak(dtype string) float64 {
	if dtype == "f32" {
		return h100Single
	}
	return h100Half
}

// KnownPeak is a device's peak in TFLOP/s; 0 where it is not known.
func KnownPeak(name, dtype string) float64 {
	name, _, _ = strings.Cut(strings.ToLower(name), " (") // Mesa adds the chip: (RADV NAVI31)
	for _, p := range devicePeaks {
		for known := range strings.SplitSeq(p.names, "|") {
			switch {
			case name != known:
			case dtype == "f32":
				return p.single
			default:
				return p.half
			}
		}
	}
	return 0
}
