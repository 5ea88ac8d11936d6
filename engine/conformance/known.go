package conformance

import (
	"regexp"

	"patchwork/engine"
	"patchwork/shaders"
)

// Known is a failure that a device is known for: its driver's fault, or a freedom
// that the specification leaves it. It is shown, and one that no longer happens is
// reported.
type Known struct {
	Device *regexp.Regexp // of the device's name, driver and kind, with spaces between
	Kernel string
	Case   *regexp.Regexp
	Reason string
}

// KnownFailures of all devices.
var KnownFailures = []Known{}

// known returns the declaration that a call's failure falls under, nil for none.
func known(all []Known, info engine.Info, k *shaders.Kernel, c shaders.Case) *Known {
	device := info.Device + " " + info.Name + " " + info.Driver + " " + info.Kind
	for i, f := range all {
		if f.Kernel == k.Name && f.Device.MatchString(device) && f.Case.MatchString(c.Name) {
			return &all[i]
		}
	}
	return nil
}
