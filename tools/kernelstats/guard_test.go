package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"patchwork/engine"
	"patchwork/engine/vulkan"
	"patchwork/internal/require"
	"patchwork/shaders"
	"patchwork/shaders/glslc"
	"patchwork/vlm/train"
)

// guarded are the chips for which the guard compiles, where the system's RADV knows them.
// Mesa 22.3 calls RDNA3 gfx1100 instead, and gives it so few registers (132 where 25.0
// gives 240) that its spills say nothing of the kernels: it is left out.
var guarded = []string{"navi21", "vega10", "navi31"}

// TestRegisters: what a discrete GPU chooses at the presets' shapes compiles to registers
// with RADV's compiler, without a spill or scratch memory that is not declared with its
// reason.
func TestRegisters(t *testing.T) {
	if c := openChip(t); c != nil {
		made, err := compile(c, everything(), subgroupSizes(c.Info().Limits), true, func(int, int, string) {})
		require.NoError(t, err)
		if len(made.Rows) < 100 {
			t.Errorf("only %d pipelines", len(made.Rows))
		}
		for _, problem := range made.check(exceptions, true) {
			t.Error(problem)
		}
		return
	}
	for _, name := range guarded {
		t.Run(name, func(t *testing.T) { runFor(t, "TestRegisters", name) })
	}
}

// TestRegistersPlanted: the guard reports a shader whose array is indexed by a variable.
func TestRegistersPlanted(t *testing.T) {
	module, err := glslc.Compile(dynamicIndex)
	if err != nil {
		t.Skip(err)
	}
	c := openChip(t)
	if c == nil {
		runFor(t, "TestRegistersPlanted", guarded[0])
		return
	}
	plain := &shaders.Copy.Variants[len(shaders.Copy.Variants)-1]
	planted := shaders.Copy.WithText(plain, dynamicIndex, module)
	rows, err := compileUse(c, use{planted, &planted.Variants[0], shaders.CopyParams{N: 64}, "planted", true}, true)
	require.NoError(t, err)
	made := table{Chip: chip(c.Info()), Driver: c.Info().Driver, Rows: rows}
	if problems := made.check(exceptions, false); len(problems) != 1 || !strings.Contains(problems[0], "local_bytes") {
		t.Errorf("reported %q", problems)
	}
}

// dynamicIndex is a shader whose array is indexed by a value that only the run knows: no
// compiler can hold it in registers.
const dynamicIndex = `#version 450
layout(local_size_x = 64) in;
layout(binding = 2) readonly buffer X { uint x[]; };
layout(binding = 3) writeonly buffer Y { uint y[]; };
void main() {
	uint sums[200];
	for (uint i = 0; i < 200; i++) sums[i] = x[i];
	for (uint i = 0; i < 1000; i++) sums[x[i] % 200] += x[i + gl_GlobalInvocationID.x];
	y[gl_GlobalInvocationID.x] = sums[x[gl_GlobalInvocationID.x] % 200];
}`

// chipVariable names the chip in a process that runFor starts.
const chipVariable = "PATCHWORK_TEST_CHIP"

// runFor runs a test for a chip, in a process of its own, since the loader and the driver
// read their environment once.
func runFor(t *testing.T, test, name string) {
	if !vulkan.Built {
		t.Skip("this binary has no Vulkan")
	}
	drivers, _ := filepath.Glob("/usr/share/vulkan/icd.d/radeon_icd*.json")
	if len(drivers) == 0 {
		t.Skip("no RADV, whose compiler needs no GPU (on Debian: apt install mesa-vulkan-drivers)")
	}
	c := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+test+"$", "-test.v")
	c.Env = append(os.Environ(), chipVariable+"="+name, "RADV_FORCE_FAMILY="+name,
		"VK_DRIVER_FILES="+drivers[0], "VK_ICD_FILENAMES="+drivers[0], "MESA_SHADER_CACHE_DISABLE=true")
	out, err := c.CombinedOutput()
	switch text := string(out); {
	case strings.Contains(text, "Unknown family"): // RADV aborts
		t.Skipf("the RADV of this system does not know %s", name)
	case err != nil:
		t.Errorf("%s: %v\n%.4000s", name, err, text)
	case strings.Contains(text, "--- SKIP"):
		t.Skipf("%s makes no device without hardware of %s (Mesa 26 no longer does)", filepath.Base(drivers[0]), name)
	}
}

// openChip opens the device of the chip in a process that runFor started; it is nil
// elsewhere.
func openChip(t *testing.T) *vulkan.Compiler {
	if os.Getenv(chipVariable) == "" {
		return nil
	}
	infos, err := vulkan.List()
	if err != nil || infos[0].Kind != engine.Null {
		t.Skipf("%v, %v", infos, err)
	}
	c, err := vulkan.OpenCompiler(0)
	require.NoError(t, err)
	t.Cleanup(func() { c.Close() })
	c.SetClass(shaders.Discrete)
	return c
}

func everything() selection {
	all := regexp.MustCompile("")
	return selection{presets: train.PresetNames, works: train.WorkKinds, dtypes: []string{"f32", "bf16", "f16"}, kernel: all, variant: all}
}
