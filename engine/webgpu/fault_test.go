//go:build cgo && !nowebgpu && ((linux && amd64) || darwin || (windows && amd64))

package webgpu

import (
	"context"
	"errors"
	"testing"

	"patchwork/engine"
)

// TestFaults injects the library's reports of out of memory and of a lost device: each is
// an error of its type, and only a lost device stays unusable.
func TestFaults(t *testing.T) {
	for _, c := range []struct {
		name  string
		fault func(d *Device)
		want  error
	}{
		{"out of memory", func(d *Device) { d.errors._type = errorOutOfMemory }, engine.ErrOutOfMemory},
		{"validation", func(d *Device) { d.errors._type = errorValidation }, new(ValidationError)},
		{"lost", func(d *Device) { d.errors._type = errorDeviceLost }, engine.ErrDeviceLost},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := openKind(t, "software", software)
			defer d.Close()
			e, _, memories := fills(t, d, 1024)
			defer e.Free()
			c.fault(d)
			_, err := d.Allocate(1<<20, "a test")
			checkFault(t, "allocating", err, c.want)
			if errors.Is(c.want, engine.ErrDeviceLost) {
				checkFault(t, "used again", e.Run(context.Background(), &step), c.want)
				checkFault(t, "written", d.Write(memories[0], 0, []byte{1, 2, 3, 4}), c.want)
				return
			}
			c.fault(d)
			checkFault(t, "running", e.Run(context.Background(), &step), c.want)
			use(t, d)
		})
	}
}

func checkFault(t *testing.T, what string, err, want error) {
	t.Helper()
	var invalid *ValidationError
	if _, ok := want.(*ValidationError); ok && errors.As(err, &invalid) {
		return
	}
	if !errors.Is(err, want) {
		t.Errorf("%s: got %v, want %v", what, err, want)
	}
}

// TestMappingFails checks that a device counts as lost when mapping fails.
func TestMappingFails(t *testing.T) {
	d := openKind(t, "software", software)
	defer d.Close()
	if err := d.mapStatus(0); err != nil {
		t.Error(err)
	}
	checkFault(t, "a failed mapping", d.mapStatus(4), engine.ErrDeviceLost)
	if _, err := d.Allocate(4, "a test"); !errors.Is(err, engine.ErrDeviceLost) {
		t.Errorf("used again: %v", err)
	}
}
