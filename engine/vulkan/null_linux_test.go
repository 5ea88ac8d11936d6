//go:build cgo && (amd64 || arm64)

package vulkan

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	vk "github.com/vulkan-go/vulkan"

	"patchwork/engine"
	"patchwork/shaders"
)

// TestNullDevice opens RADV devices without hardware, in a separate process, since the
// loader reads its drivers once: an error in one line, no crash.
func TestNullDevice(t *testing.T) {
	if os.Getenv("PATCHWORK_TEST_NULL") == "1" {
		openNull(t)
		return
	}
	drivers := glob("/usr/share/vulkan/icd.d/radeon_icd*.json")
	if len(drivers) == 0 {
		t.Skip("no RADV, which makes devices without hardware (on Debian: apt install mesa-vulkan-drivers)")
	}
	for _, family := range []string{"navi21", "vega10"} {
		c := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestNullDevice$", "-test.v")
		c.Env = append(os.Environ(), "PATCHWORK_TEST_NULL=1", "RADV_FORCE_FAMILY="+family, "VK_DRIVER_FILES="+drivers[0], "VK_ICD_FILENAMES="+drivers[0])
		out, err := c.CombinedOutput()
		switch {
		case err != nil:
			t.Errorf("%s: %v\n%.2000s", family, err, out)
		case strings.Contains(string(out), "--- SKIP"):
			t.Skipf("%s makes no device without hardware of %s (Mesa 26 no longer does)", filepath.Base(drivers[0]), family)
		}
	}
}

func openNull(t *testing.T) {
	infos, err := List()
	if err != nil || !strings.Contains(infos[0].Name, "Null hardware") {
		t.Skipf("%v, %v", infos, err)
	}
	if infos[0].Kind != engine.Null || infos[0].Hardware() {
		t.Errorf("kind %q, want %q", infos[0].Kind, engine.Null)
	}
	if _, err := Open(0); !errors.Is(err, engine.ErrUnsupported) || !strings.Contains(err.Error(), "has no hardware") {
		t.Errorf("opened: %v", err)
	}
	if err := Diagnose(); err == nil {
		t.Error("a device without hardware counts as a GPU")
	}
	d := halfOpen(t, 0)
	if err := d.Close(); err != nil {
		t.Error(err)
	}
	compileOnly(t)
}

// compileOnly compiles a kernel with several passes on a device without hardware.
func compileOnly(t *testing.T) {
	c, err := OpenCompiler(0)
	if err != nil {
		t.Fatal(err)
	}
	c.SetClass(shaders.Discrete)
	params := shaders.ArgMaxParams{Rows: shaders.N(1), Cols: 49152}
	v, _ := c.Info().Choose(shaders.ArgMax, params, shaders.Storage{})
	for _, texts := range []bool{false, true} {
		passes, err := c.Compile(shaders.ArgMax, v, params, texts)
		if err != nil {
			t.Fatal(err)
		}
		if len(passes) != len(v.Passes) || len(passes) < 2 {
			t.Errorf("%d pipelines of %d passes, want 2 or more", len(passes), len(v.Passes))
		}
		for _, p := range passes {
			has := slices.ContainsFunc(p.Statistics, func(s Statistic) bool { return s.Name == "VGPRs" && s.Value > 0 })
			listed := slices.ContainsFunc(p.Texts, func(s Text) bool { return strings.Contains(s.Content, "s_endpgm") })
			if !has || listed != texts || p.SubgroupSize == 0 || p.Time <= 0 {
				t.Errorf("%s: with texts %v, subgroups of %d, %v: %v", p.Entry, texts, p.SubgroupSize, p.Time, p.Statistics)
			}
		}
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
}

// TestCompiler compiles programs on a device with a memory of its own, whose driver reports
// no statistics; what it cannot do is an error.
func TestCompiler(t *testing.T) {
	index, err := find(software)
	if index < 0 {
		t.Skipf("no software Vulkan device (on Debian: apt install mesa-vulkan-drivers): %v", err)
	}
	c, err := OpenCompiler(index)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	p := engine.NewProgram("two calls of one pipeline, and another")
	x := engine.NewBuffer("x", 256).View()
	for _, n := range []uint32{64, 32} {
		p.Dispatch(shaders.Fill, shaders.FillParams{N: n}, x)
	}
	p.Dispatch(shaders.SwiGLU, shaders.SwiGLUParams{N: shaders.N(64)}, x, x, x)
	cold, err := c.Time(p.Dispatches, nil)
	if err != nil || cold.Pipelines != 2 || cold.Time <= 0 {
		t.Errorf("%d pipelines in %v, %v, want 2", cold.Pipelines, cold.Time, err)
	}
	if _, err := c.Time(p.Dispatches, cold.Cache); err != nil {
		t.Error(err)
	}
	if err := c.SetSubgroupSize(3); !errors.Is(err, engine.ErrUnsupported) {
		t.Errorf("subgroups of 3: %v", err)
	}
	c.statistics = false
	if _, err := c.Compile(shaders.Fill, &shaders.Fill.Variants[0], shaders.FillParams{N: 64}, false); !errors.Is(err, engine.ErrUnsupported) || !strings.Contains(err.Error(), executableExtension) {
		t.Errorf("without %s: %v", executableExtension, err)
	}
	if _, err := OpenCompiler(99); !errors.Is(err, engine.ErrNoDevice) {
		t.Errorf("device 99: %v", err)
	}
}

// halfOpen is a device whose fences could not be made.
func halfOpen(t *testing.T, index int) *Device {
	d, err := locate(index)
	if err != nil {
		t.Fatal(err)
	}
	if err := d.createHandle(); err != nil {
		t.Fatal(err)
	}
	d.procs = loadDeviceProcs(d.instance.procs.getDeviceProcAddress, d.handle)
	return d
}

// TestCloseBeforeWork closes devices without submissions, with a driver that does not
// support waits: it is not called.
func TestCloseBeforeWork(t *testing.T) {
	index, err := find(software)
	if index < 0 {
		t.Skipf("no software Vulkan device (on Debian: apt install mesa-vulkan-drivers): %v", err)
	}
	for _, c := range []struct {
		name string
		busy bool
		want error
	}{{"no work", false, nil}, {"work", true, engine.ErrDeviceLost}} {
		d := halfOpen(t, index)
		d.procs.deviceWaitIdle, d.busy = answers(vk.ErrorDeviceLost), c.busy
		if err := d.Close(); err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		if !errors.Is(d.lost, c.want) {
			t.Errorf("%s: lost %v, want %v", c.name, d.lost, c.want)
		}
	}
}
