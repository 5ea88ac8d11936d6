//go:build cgo && linux && (amd64 || arm64)

package vulkan

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	vk "github.com/vulkan-go/vulkan"

	"patchwork/engine"
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
