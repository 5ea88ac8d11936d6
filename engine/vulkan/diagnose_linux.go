//go:build cgo && (amd64 || arm64)

package vulkan

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"

	"patchwork/engine"
)

// installDriver says how to get a driver.
const installDriver = "on Debian: apt install mesa-vulkan-drivers, or NVIDIA's user-space libraries"

// noGPU finds the reason why no driver finds a GPU.
func noGPU() error {
	return noHardware(glob("/dev/dri/renderD*"), glob("/dev/nvidiactl"), unix.Access)
}

// noHardware finds the reason from the device nodes of the Mesa and NVIDIA drivers;
// access is unix.Access.
func noHardware(dri, nvidia []string, access func(path string, mode uint32) error) error {
	for _, node := range slices.Concat(dri, nvidia) {
		err := access(node, unix.R_OK|unix.W_OK)
		if errors.Is(err, unix.EACCES) || errors.Is(err, unix.EPERM) {
			return fmt.Errorf("no permission to use %s (on Debian: add yourself to the groups render and video): %w", node, engine.ErrNoDevice)
		}
	}
	switch {
	case len(nvidia) > 0:
		return fmt.Errorf("there is an NVIDIA GPU (%s), but no Vulkan driver for it: its GL, EGL and Vulkan user-space libraries are missing (in a container: NVIDIA_DRIVER_CAPABILITIES=all): %w", nvidia[0], engine.ErrNoDevice)
	case len(dri) > 0:
		return fmt.Errorf("there is a GPU (%s), but no Vulkan driver for it (on Debian: apt install mesa-vulkan-drivers): %w", dri[0], engine.ErrNoDevice)
	}
	return fmt.Errorf("there is no GPU: neither /dev/dri nor /dev/nvidiactl exists (a container must be given them): %w", engine.ErrNoDevice)
}

func glob(pattern string) []string {
	paths, _ := filepath.Glob(pattern) // the patterns are valid constants
	return slices.DeleteFunc(paths, func(p string) bool {
		_, err := os.Stat(p)
		return err != nil
	})
}
