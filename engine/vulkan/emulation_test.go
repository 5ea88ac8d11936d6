//go:build cgo && ((linux && (amd64 || arm64)) || (windows && amd64))

package vulkan

import (
	"cmp"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"patchwork/engine/conformance"
	"patchwork/engine/conformance/emulation"
	"patchwork/shaders"
	"patchwork/shaders/glslc"
)

// emulateAll is the environment variable that enables every variant, which takes half an
// hour on two cores.
const emulateAll = "PATCHWORK_EMULATE_ALL"

// matrixSizes are those of NVIDIA's, AMD's and Intel's tensor cores: M, N and K.
var matrixSizes = [][3]uint32{{16, 8, 16}, {16, 16, 16}, {8, 16, 16}}

// form is a variant with cooperative matrices.
type form struct {
	kernel  *shaders.Kernel
	variant *shaders.Variant
}

func cooperative() []form {
	var all []form
	for _, k := range shaders.All() {
		for i := range k.Variants {
			if v := &k.Variants[i]; v.Cooperative != nil {
				all = append(all, form{k, v})
			}
		}
	}
	return all
}

// smallest is the form of each file, in bf16, whose matrices are the smallest.
func smallest(all []form) []form {
	best := map[string]form{}
	area := func(f form) uint32 { return f.variant.Cooperative.Rows * f.variant.Cooperative.Cols }
	for _, f := range all {
		other, seen := best[f.variant.Source]
		if f.variant.Storage.Type == shaders.BF16 && (!seen || area(f) < area(other)) {
			best[f.variant.Source] = f
		}
	}
	return slices.SortedFunc(maps.Values(best), func(a, b form) int { return strings.Compare(a.variant.Source, b.variant.Source) })
}

// cases are those of a variant on a device, up to limit elements.
func (f form) cases(t shaders.DeviceCaps, limit int) []shaders.Case {
	return slices.DeleteFunc(conformance.Cases(f.kernel), func(c shaders.Case) bool {
		return c.Long || c.Elements() > limit || c.Storage != f.variant.Storage || !slices.Contains(f.kernel.Runnable(c.Params, c.Storage, t), f.variant)
	})
}

// TestEmulated runs the variants for cooperative matrices without them: one variant of
// each file, in bf16, with one size of matrices and one set of constants; or all those
// that no software driver supports, and several sizes.
func TestEmulated(t *testing.T) {
	if _, err := glslc.Compile("#version 460\nlayout(local_size_x = 1) in;\nvoid main() {}\n"); err != nil {
		t.Skipf("GLSL cannot be compiled (Debian: apt install glslc): %v", err)
	}
	d := openSoftware(t, false)
	defer d.Close()
	forms, small := cooperative(), smallest(cooperative())
	all := os.Getenv(emulateAll) != ""
	if !all {
		forms = small
	}
	for _, f := range forms {
		inWorkgroup := f.variant.Cooperative.Scope == shaders.ScopeWorkgroup // then one matrix is the whole tile
		if f.variant.Storage.Type != shaders.BF16 && !inWorkgroup {
			continue // a newer Mesa supports it
		}
		sizes := matrixSizes
		if !all || inWorkgroup || !slices.Contains(small, f) {
			sizes = sizes[:1]
		}
		// With a whole matrix in every invocation, compilation is too slow for every
		// constant.
		all := all && (!inWorkgroup || f.variant.Cooperative.Rows*f.variant.Cooperative.Cols <= 64*64)
		for _, size := range sizes {
			target := emulation.Caps(f.variant, size[0], size[1], size[2], d.info.Limits.SubgroupSize)
			t.Run(fmt.Sprintf("%s/%dx%dx%d", f.kernel.ID(f.variant), size[0], size[1], size[2]), func(t *testing.T) {
				testEmulated(t, d, f, target, all)
			})
		}
	}
}

// testEmulated compares a variant with the references in all its cases, or in those that
// share the module of the largest.
func testEmulated(t *testing.T, d *Device, f form, target shaders.DeviceCaps, all bool) {
	emulated, err := emulation.Kernel(f.kernel, f.variant, target, glslc.Compile)
	if err != nil {
		t.Fatal(err)
	}
	cases := f.cases(target, 1<<17)
	if len(cases) == 0 {
		t.Fatal("it has no case")
	}
	largest := slices.MaxFunc(cases, func(a, b shaders.Case) int { return cmp.Compare(a.Elements(), b.Elements()) })
	constants := fmt.Sprint(f.variant.Constants(largest.Params, target))
	passed := 0
	for _, c := range cases {
		if !all && fmt.Sprint(f.variant.Constants(c.Params, target)) != constants {
			continue
		}
		if _, err := conformance.Check(t.Context(), d, emulated, conformance.Prepare(f.kernel, c)); err != nil {
			t.Errorf("%s: %v", c.Name, err)
			continue
		}
		passed++
	}
	t.Logf("%d cases pass", passed)
}

// TestWorkgroupMemory runs the variants with cooperative matrices that require more
// shared memory than the software device reports: it allocates what they require.
func TestWorkgroupMemory(t *testing.T) {
	d := openSoftware(t, false)
	defer d.Close()
	if len(d.info.Matrices) == 0 {
		t.Skip("the driver has no cooperative matrices; make test-mesa sets up one that has")
	}
	reported, unlimited := d.info.Caps(), d.info.Caps()
	unlimited.WorkgroupMemory = 0
	for _, f := range cooperative() {
		needs, err := f.kernel.Requirements(f.variant)
		if err != nil {
			t.Fatal(err)
		}
		if needs.MetBy(reported) {
			continue // run by the suite of all devices
		}
		module, err := f.kernel.SPIRV(f.variant)
		if err != nil {
			t.Fatal(err)
		}
		forced := f.kernel.WithCaps(unlimited, f.variant, "", module)
		for _, c := range f.cases(unlimited, 1<<17) {
			t.Run(f.kernel.ID(f.variant)+"/"+c.Name, func(t *testing.T) {
				if _, err := conformance.Check(t.Context(), d, forced, conformance.Prepare(f.kernel, c)); err != nil {
					t.Error(err)
				}
			})
		}
	}
}
