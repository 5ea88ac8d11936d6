package nn

import (
	"testing"

	"patchwork/engine"
	"patchwork/engine/cpu"
)

// testDevices are the devices that computing tests run on.
func testDevices(t testing.TB) []engine.Device {
	return []engine.Device{cpu.Open(0)}
}
