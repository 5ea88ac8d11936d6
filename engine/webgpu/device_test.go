//go:build cgo && !nowebgpu && ((linux && amd64) || darwin || (windows && amd64))

package webgpu

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/rajveermalviya/go-webgpu/wgpu"

	"patchwork/engine"
)

// TestOpenMissing opens adapters that do not exist.
func TestOpenMissing(t *testing.T) {
	for _, index := range []int{-1, 1000} {
		if _, err := Open(index); !errors.Is(err, engine.ErrNoDevice) {
			t.Errorf("webgpu:%d: got %v, want no such device", index, err)
		}
	}
}

// TestUseAfterClose checks that a closed device returns errors.
func TestUseAfterClose(t *testing.T) {
	d := openKind(t, "software", software)
	e, _, memories := fills(t, d, 4)
	for range 2 {
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if err := e.Run(t.Context(), &step); err == nil {
		t.Error("a program ran")
	}
	if _, err := e.Profile(t.Context(), &step); err == nil {
		t.Error("a program was profiled")
	}
	if _, err := d.Allocate(4, "a test"); err == nil {
		t.Error("memory was allocated")
	}
	if err := d.Write(memories[0], 0, []byte{1}); err == nil {
		t.Error("memory was written")
	}
	memories[0].Free()
	e.Free()
}

// TestForeignMemory passes the memory of one device to another.
func TestForeignMemory(t *testing.T) {
	d, other := openKind(t, "software", software), openKind(t, "software", software)
	defer d.Close()
	defer other.Close()
	m, err := other.Allocate(256, "a test")
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Write(m, 0, make([]byte, 4)); err == nil || !strings.Contains(err.Error(), "another device") {
		t.Errorf("written: %v", err)
	}
}

// TestValidation tests an invalid shader, an oversized buffer and an invalid copy: the
// errors have a type, one line and the device's name, and the device stays usable.
func TestValidation(t *testing.T) {
	d := openKind(t, "software", software)
	defer d.Close()
	for _, c := range []struct {
		name string
		do   func() error
	}{
		{"shader", func() error {
			_, err := d.shader("broken", "fn main() { let x: f32 = 1u; }")
			return err
		}},
		{"buffer", func() error {
			_, err := d.newBuffer(d.info.Limits.MaxAllocationBytes+4, storageUsage)
			return err
		}},
		{"copy", func() error {
			return d.submit(func(e *wgpu.CommandEncoder) error {
				return e.CopyBufferToBuffer(d.dummy.buffer, 0, d.dummy.buffer, 0, 1<<20)
			})
		}},
	} {
		var invalid *ValidationError
		if err := c.do(); !errors.As(err, &invalid) || invalid.Device != d.info.Device || strings.ContainsRune(err.Error(), '\n') {
			t.Errorf("%s: got %v, want a validation error in one line", c.name, err)
		}
		use(t, d)
	}
}

// TestLongWork waits for work of more than the five seconds after which the library's own
// wait gives up: after the wait, the device is idle.
func TestLongWork(t *testing.T) {
	if testing.Short() {
		t.Skip("keeps the device busy for six seconds")
	}
	d := openKind(t, "software", software)
	defer d.Close()
	e, _, _ := fills(t, d, 1<<24)
	busy := func(times int) time.Duration {
		begin := time.Now()
		err := d.submit(func(c *wgpu.CommandEncoder) error {
			for range times {
				if err := e.(*executable).encode(c, 0, 2); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := d.wait(t.Context()); err != nil {
			t.Fatal(err)
		}
		return time.Since(begin)
	}
	once := busy(20) / 20
	long := busy(int(6*time.Second/once) + 1)
	if !d.library.idle() {
		t.Errorf("after waiting %v for the work, the device is not idle", long)
	}
}

// TestMemory checks that a software adapter reports the machine's memory.
func TestMemory(t *testing.T) {
	d := openKind(t, "software", software)
	defer d.Close()
	if got, want := d.Info().Memory, engine.HostMemory(); got != want {
		t.Errorf("%s has %d bytes of memory, the machine %d", d.info.Device, got, want)
	}
}
