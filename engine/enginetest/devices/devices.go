// Package devices opens the devices for tests.
package devices

import (
	"os"
	"slices"
	"testing"

	"patchwork/engine"
	"patchwork/engine/cpu"
	"patchwork/engine/vulkan"
	"patchwork/engine/webgpu"
)

// Open returns the CPU and every Vulkan and WebGPU device of the machine, software ones
// too, closed when the test ends. A backend without any leaves a skipped subtest with the
// reason; REQUIRE_GPU=1 makes the absence of a hardware GPU a failure. PATCHWORK_DEVICES=cpu
// opens only the CPU, PATCHWORK_DEVICES=vulkan the CPU and Vulkan's.
func Open(t testing.TB) []engine.Device { return open(t, backends) }

// OpenNative returns the devices of Open without WebGPU's, which are the same hardware:
// for tests that take long on a software device.
func OpenNative(t testing.TB) []engine.Device { return open(t, backends[:1]) }

type backend struct {
	name string
	list func() ([]engine.Info, error)
	open func(int) (engine.Device, error)
}

var backends = []backend{{"vulkan", vulkan.List, vulkan.Open}, {"webgpu", webgpu.List, webgpu.Open}}

func open(t testing.TB, backends []backend) []engine.Device {
	t.Helper()
	devices := []engine.Device{cpu.Open(0)}
	switch only := os.Getenv("PATCHWORK_DEVICES"); only {
	case "":
	case "cpu":
		return devices
	case "vulkan":
		backends = backends[:1]
	default:
		t.Fatalf("PATCHWORK_DEVICES is %q, want cpu, vulkan or nothing", only)
	}
	for _, b := range backends {
		devices = append(devices, b.openAll(t)...)
	}
	hardware := slices.ContainsFunc(devices, func(d engine.Device) bool { return d.Info().Hardware() })
	if !hardware && os.Getenv("REQUIRE_GPU") == "1" {
		t.Fatalf("REQUIRE_GPU=1: %v", vulkan.Diagnose())
	}
	return devices
}

func (b backend) openAll(t testing.TB) (devices []engine.Device) {
	t.Helper()
	infos, err := b.list()
	for i, info := range infos {
		dev, err := b.open(i)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := dev.Close(); err != nil {
				t.Errorf("%s: %v", info.Device, err)
			}
		})
		devices = append(devices, dev)
	}
	if t, ok := t.(*testing.T); ok && len(infos) == 0 {
		t.Run(b.name, func(t *testing.T) {
			t.Skipf("no %s device (in software on Debian: apt install mesa-vulkan-drivers): %v", b.name, err)
		})
	}
	return devices
}
