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

// instructionKinds match mnemonics of AMD's instructions (s_load_b128) and of NVIDIA's as
// NAK writes them (ld.shared.b128); the first matching kind counts an instruction.
var instructionKinds = []struct {
	column  string
	pattern *regexp.Regexp
}{
	{"vopd", regexp.MustCompile(`^v_dual_`)},
	{"lds", regexp.MustCompile(`^(ds_|(ld|st|ldsm|atom)\.shared)`)},
	{"vmem", regexp.MustCompile(`^(global_|buffer_|flat_|scratch_|image_|(ld|st|atom|red)\.(global|local))`)},
	{"smem", regexp.MustCompile(`^(s_load|s_buffer_load|ldc\b)`)},
	{"branches", regexp.MustCompile(`^(s_cbranch|s_branch|bra\b)`)},
	{"salu", regexp.MustCompile(`^(s_|(bssy|bsync|bclear|nop|exit|bar|membar|warpsync)\b)`)},
	{"valu", regexp.MustCompile(`.`)},
}

var multiplyAdd = regexp.MustCompile(`^(v_(dual_)?(fma|mad|mac|fmac|pk_fma|dot|wmma|mfma)|ffma|hfma2|hmma)`)

// An instruction in a listing: "	v_fma_f32 v0, v1, v2, v3   ; d613…" of ACO, and
// "@!p1 r5 = ffma r1 r2 r3 // delay=4" of NAK.
var (
	instruction = regexp.MustCompile(`^\s*(?:@!?u?p\d+\s+)?(?:([a-z][^=;/]*?)\s*= )?([a-z][a-z0-9_.]*)`)
	notCode     = regexp.MustCompile(`^\s*(BB\d+:|block|\}|//|;|$)`)
	uniform     = regexp.MustCompile(`^(ur|up)\d`) // destinations of NVIDIA's scalar unit
)

// countInstructions counts the instructions of an assembly listing by kind. Kinds that do
// not occur are absent, but for those that no compiler counts itself.
func countInstructions(assembly string) map[string]float64 {
	values := map[string]float64{}
	if assembly != "" {
		values["lds"], values["fma"] = 0, 0
	}
	for line := range strings.Lines(assembly) {
		if notCode.MatchString(line) {
			continue
		}
		// Both halves of a VOPD stand on one line: "v_dual_fmac_f32 … :: v_dual_mul_f32 …".
		for i, half := range strings.Split(line, "::") {
			m := instruction.FindStringSubmatch(half)
			if m == nil {
				continue
			}
			if i == 0 {
				values[kindOf(m[1], m[2])]++
			}
			if multiplyAdd.MatchString(m[2]) {
				values["fma"]++
			}
		}
	}
	return values
}

func kindOf(destination, mnemonic string) string {
	for _, k := range instructionKinds {
		if k.column == "valu" && uniform.MatchString(destination) {
			return "salu"
		}
		if k.pattern.MatchString(mnemonic) {
			return k.column
		}
	}
	return "valu"
}
