// Package devices opens the devices that computing tests run on.
package devices

import (
	"os"
	"testing"

	"patchwork/engine"
	"patchwork/engine/cpu"
	"patchwork/engine/vulkan"
)

// Open returns the CPU and every Vulkan device of the machine, software ones
// too, closed when the test ends. Without any the test has a skipped subtest that
// says why; REQUIRE_GPU=1 makes the absence of a hardware GPU a failure.
func Open(t testing.TB) []engine.Device {
	t.Helper()
	devices := []engine.Device{cpu.Open(0)}
	infos, err := vulkan.List()
	hardware := false
	for i, info := range infos {
		dev, err := vulkan.Open(i)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := dev.Close(); err != nil {
				t.Errorf("%s: %v", info.Device, err)
			}
		})
		devices, hardware = append(devices, dev), hardware || info.Hardware()
	}
	if !hardware && os.Getenv("REQUIRE_GPU") == "1" {
		t.Fatalf("REQUIRE_GPU=1: %v", vulkan.Diagnose())
	}
	if t, ok := t.(*testing.T); ok && len(infos) == 0 {
		t.Run("vulkan", func(t *testing.T) { t.Skipf("no Vulkan device (on Debian: apt install mesa-vulkan-drivers): %v", err) })
	}
	return devices
}
