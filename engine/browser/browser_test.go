//go:build js

package browser

import (
	"errors"
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

// TestLost destroys the device as a browser does when its driver fails: every call says so.
func TestLost(t *testing.T) {
	d, err := open()
	if err != nil {
		t.Fatal(err)
	}
	m, err := d.Allocate(1024, "a buffer")
	if err != nil {
		t.Fatal(err)
	}
	d.device.Call("destroy")
	for i, call := range []func() error{
		func() error { return d.Read(m, 0, make([]byte, 16)) },
		func() error { return d.Write(m, 0, make([]byte, 16)) },
		func() error { _, err := d.Allocate(16, "another"); return err },
	} {
		if err := call(); !errors.Is(err, engine.ErrDeviceLost) {
			t.Errorf("call %d: %v, want that the device is lost", i, err)
		}
	}
	if err := d.Close(); err != nil {
		t.Error(err)
	}
}
