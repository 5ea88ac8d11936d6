//go:build js

package browser

import (
	"testing"

	"patchwork/engine"
	"patchwork/engine/enginetest"
)

func TestDevice(t *testing.T) {
	enginetest.Run(t, func(t *testing.T) engine.Device {
		d, err := Open()
		if err != nil {
			t.Fatal(err)
		}
		return d
	})
}
