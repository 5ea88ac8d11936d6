//go:build cgo && amd64

package vulkan

import (
	"fmt"

	"patchwork/engine"
)

// installDriver says how to get a driver.
const installDriver = "install the driver of the graphics card"

// noGPU is the reason why no driver finds a GPU.
func noGPU() error {
	return fmt.Errorf("no Vulkan driver finds a GPU (%s): %w", installDriver, engine.ErrNoDevice)
}
