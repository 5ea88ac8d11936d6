//go:build cgo && !nowebgpu && ((linux && amd64) || darwin || (windows && amd64))

package webgpu

import (
	"os"
	"slices"
	"testing"

	"patchwork/engine"
	"patchwork/engine/enginetest"
)

// openKind opens the first adapter that fits.
func openKind(t testing.TB, what string, fits func(engine.Info) bool) *Device {
	t.Helper()
	infos, err := List()
	index := slices.IndexFunc(infos, fits)
	if index < 0 {
		t.Skipf("no %s WebGPU adapter (on Debian, one in software: apt install mesa-vulkan-drivers): %v", what, err)
	}
	d, err := open(index)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func software(i engine.Info) bool { return i.Kind == "software" }

func TestSoftware(t *testing.T) {
	enginetest.Run(t, func(t *testing.T) engine.Device { return openKind(t, "software", software) })
}

func TestHardware(t *testing.T) {
	enginetest.Run(t, func(t *testing.T) engine.Device {
		if infos, err := List(); os.Getenv("REQUIRE_GPU") == "1" && !slices.ContainsFunc(infos, engine.Info.Hardware) {
			t.Fatalf("REQUIRE_GPU=1: %v", err)
		}
		return openKind(t, "hardware", engine.Info.Hardware)
	})
}
