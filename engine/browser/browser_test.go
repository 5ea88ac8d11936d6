//go:build js

package browser

import (
	"testing"

	"patchwork/engine"
	"patchwork/engine/enginetest"
)

// TestDevice runs the whole suite, which takes an hour in software; with -short, one small
// case of every variant.
func TestDevice(t *testing.T) {
	run := enginetest.Run
	if testing.Short() {
		run = enginetest.RunOnce
	}
	run(t, func(t *testing.T) engine.Device {
		d, err := Open()
		if err != nil {
			t.Fatal(err)
		}
		return d
	})
}
