package conformance

import (
	"fmt"
	"regexp"

	"patchwork/engine"
	"patchwork/shaders"
)

// Known is a failure that is expected on a device: a driver bug, or behaviour that the
// specification leaves open. The results show it, and also that it no longer occurs. A
// failure with a different error is not a known one.
type Known struct {
	Device *regexp.Regexp // matches the device's name, driver and kind, with spaces between
	Kernel string
	Case   *regexp.Regexp
	Error  *regexp.Regexp // matches the error's message
	Reason string
}

// KnownFailures of all devices.
var KnownFailures = []Known{}

// known returns the declarations for a call on a device.
func known(all []Known, info engine.Info, k *shaders.Kernel, c shaders.Case) (found []Known) {
	device := info.Device + " " + info.Name + " " + info.Driver + " " + info.Kind
	for _, f := range all {
		if f.Kernel == k.Name && f.Device.MatchString(device) && f.Case.MatchString(c.Name) {
			found = append(found, f)
		}
	}
	return found
}

// expect compares a result with its declarations: Known becomes the reason of the one
// whose error matches, or of the first if the case passed.
func (r *Result) expect(declared []Known) {
	for _, f := range declared {
		if r.Err == nil || f.Error.MatchString(r.Err.Error()) {
			r.Known = f.Reason
			return
		}
	}
	if len(declared) > 0 {
		r.Err = fmt.Errorf("not the known failure, whose error matches %q: %w", declared[0].Error, r.Err)
	}
}
