//go:build cgo && ((linux && (amd64 || arm64)) || (windows && amd64))

package vulkan

import (
	"slices"

	"patchwork/engine"
)

// Diagnose returns the reason why there is no hardware GPU among the devices: no loader,
// no driver, no permission, no GPU; nil when there is one. The error matches
// engine.ErrNoDevice.
func Diagnose() error {
	infos, err := List()
	if err != nil {
		return err
	}
	if slices.ContainsFunc(infos, engine.Info.Hardware) {
		return nil
	}
	return noGPU()
}
