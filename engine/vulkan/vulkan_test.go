//go:build cgo && ((linux && (amd64 || arm64)) || (windows && amd64))

package vulkan

import (
	"os"
	"slices"
	"testing"

	"patchwork/engine"
	"patchwork/engine/enginetest"
)

// TestMain gives the tests their own cache directory.
func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "patchwork")
	if err != nil {
		panic(err)
	}
	os.Setenv("XDG_CACHE_HOME", dir)
	code := m.Run()
	os.RemoveAll(dir)
	os.Exit(code)
}

// find returns the index of the first device that fits.
func find(fits func(engine.Info) bool) (index int, why error) {
	infos, err := List()
	if err != nil {
		return -1, err
	}
	return slices.IndexFunc(infos, fits), nil
}

func software(i engine.Info) bool { return i.Kind == "software" }

// openSoftware opens the software device that developers' machines and the CI have.
func openSoftware(t testing.TB, staged bool) *Device {
	t.Helper()
	index, err := find(software)
	if index < 0 {
		t.Skipf("no software Vulkan device (on Debian: apt install mesa-vulkan-drivers): %v", err)
	}
	d, err := open(index, staged)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestSoftware(t *testing.T) {
	enginetest.Run(t, func(t *testing.T) engine.Device { return openSoftware(t, false) })
}

// TestSmallest runs every variant once, in its smallest case.
func TestSmallest(t *testing.T) {
	if os.Getenv("PATCHWORK_SMALLEST") == "" {
		t.Skip("TestSoftware has these cases; PATCHWORK_SMALLEST=1 runs them alone, for other drivers and layers")
	}
	enginetest.RunOnce(t, func(t *testing.T) engine.Device { return openSoftware(t, false) })
}

// TestStaged copies through staging memory, as a discrete GPU must.
func TestStaged(t *testing.T) {
	enginetest.RunEngine(t, func(t *testing.T) engine.Device { return openSoftware(t, true) })
}

func TestHardware(t *testing.T) {
	enginetest.Run(t, func(t *testing.T) engine.Device {
		index, _ := find(engine.Info.Hardware)
		if index < 0 && os.Getenv("REQUIRE_GPU") == "1" {
			t.Fatalf("REQUIRE_GPU=1: %v", Diagnose())
		} else if index < 0 {
			t.Skipf("no hardware GPU: %v", Diagnose())
		}
		d, err := Open(index)
		if err != nil {
			t.Fatal(err)
		}
		return d
	})
}
