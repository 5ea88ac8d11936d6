package main

import (
	"regexp"
	"strings"

	"patchwork/engine/vulkan"
)

// column is a statistic under one name for all compilers.
type column struct {
	name, title, about string
	compilers          []string // names of ACO's, NAK's and Intel's compilers; those present are added
}

// columns in the order of the tables.
var columns = []column{
	{"registers", "registers", "vector registers (AMD's VGPRs), or an invocation's (NVIDIA's GPRs)", []string{"VGPRs", "Number of GPRs", "Max dispatch width registers"}},
	{"spilled", "spilled", "registers that did not fit and were written to memory", []string{"Spilled VGPRs", "Spills to memory", "Spill Count"}},
	{"spilled_scalars", "spilled scalars", "scalar registers that did not fit", []string{"Spilled SGPRs", "Spills to reg"}},
	{"local_bytes", "local", "bytes of scratch of a subgroup (AMD), or of local memory of an invocation (NVIDIA): arrays that are indexed by a variable lie there, and spilled registers", []string{"Scratch size", "SLM Size", "Scratch Memory Size"}},
	{"shared_bytes", "shared", "bytes of memory that a workgroup shares", []string{"LDS size", "LDS Size", "SMEM Size"}},
	{"waves", "waves", "subgroups that a SIMD unit (AMD) or a multiprocessor (NVIDIA) has in flight at most", []string{"Subgroups per SIMD", "Max warps/SM"}},
	{"instructions", "instructions", "instructions in the code, not those executed", []string{"Instructions", "Instruction count", "Instruction Count"}},
	{"valu", "VALU", "vector arithmetic", []string{"VALU"}},
	{"fma", "FMA", "multiply-adds and matrix multiplications among them; one VOPD may have two", nil},
	{"vopd", "VOPD", "pairs of operations that issue together", []string{"VOPD"}},
	{"salu", "SALU", "scalar arithmetic and control", []string{"SALU"}},
	{"vmem", "VMEM", "vector loads and stores", []string{"VMEM"}},
	{"smem", "SMEM", "scalar loads", []string{"SMEM"}},
	{"lds", "LDS", "loads and stores of shared memory", nil},
	{"branches", "branches", "", []string{"Branches"}},
	{"code_bytes", "code bytes", "", []string{"Code size", "Code Size"}},
	{"inverse_throughput", "inverse throughput", "the compiler's estimate of busy cycles for one subgroup; it guesses how often loops run: compare versions of one kernel, not kernels", []string{"Inverse Throughput", "Static cycle count", "Cycle Count"}},
}

// memoryColumns are those that are 0 where everything is in registers.
var memoryColumns = []string{"spilled", "spilled_scalars", "local_bytes"}

// normalised returns the columns that a compiler's statistics and its assembly, which may
// be "", have.
func normalised(statistics []vulkan.Statistic, assembly string) map[string]float64 {
	values := countInstructions(assembly)
	for _, c := range columns {
		for _, s := range statistics {
			for _, name := range c.compilers {
				if s.Name == name {
					values[c.name] = s.Value
				}
			}
		}
	}
	return values
}

// instructionKinds match mnemonics of AMD's and of NVIDIA's instructions; the first
// matching kind counts an instruction, and fma counts beside the others.
var instructionKinds = []struct {
	column  string
	pattern *regexp.Regexp
}{
	{"vopd", regexp.MustCompile(`^v_dual_`)},
	{"lds", regexp.MustCompile(`^(ds_|lds\b|sts\b|ldsm\b|atoms\b)`)},
	{"vmem", regexp.MustCompile(`^(global_|buffer_|flat_|scratch_|image_|ldg\b|stg\b|ldl\b|stl\b|atomg?\b|red\b|suld\b)`)},
	{"smem", regexp.MustCompile(`^(s_load|s_buffer_load|ldc\b)`)},
	{"branches", regexp.MustCompile(`^(s_cbranch|s_branch|bra\b)`)},
	{"salu", regexp.MustCompile(`^s_`)},
	{"valu", regexp.MustCompile(`^v_`)},
}

var multiplyAdd = regexp.MustCompile(`^(v_(dual_)?(fma|mad|mac|fmac|pk_fma|dot|wmma|mfma)|ffma\b|hfma2\b|hmma\b)`)

// An instruction in a listing: "	v_fma_f32 v0, v1, v2, v3   ; d613…" of ACO, and
// "r5 = ffma r1 r2 r3 // delay=4" of NAK, which may start with a predicate.
var (
	label    = regexp.MustCompile(`^\s*(BB\d+:|//|;|$)`)
	assigned = regexp.MustCompile(`^\s*(@!?u?p\d+\s+)?([^=;]*= )?([a-z][a-z0-9_]*)`)
)

// countInstructions counts the instructions of an assembly listing by kind. Kinds that do
// not occur are absent, but for those that no compiler counts itself.
func countInstructions(assembly string) map[string]float64 {
	values := map[string]float64{}
	if assembly != "" {
		values["lds"], values["fma"] = 0, 0
	}
	for line := range strings.Lines(assembly) {
		m := assigned.FindStringSubmatch(line)
		if m == nil || label.MatchString(line) {
			continue
		}
		for _, k := range instructionKinds {
			if k.pattern.MatchString(m[3]) {
				values[k.column]++
				break
			}
		}
		// Both halves of a VOPD stand on one line: "v_dual_fmac_f32 … :: v_dual_mul_f32 …".
		for half := range strings.SplitSeq(line, "::") {
			if h := assigned.FindStringSubmatch(half); h != nil && multiplyAdd.MatchString(h[3]) {
				values["fma"]++
			}
		}
	}
	return values
}
