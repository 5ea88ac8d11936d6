//go:build cgo && ((linux && (amd64 || arm64)) || (windows && amd64))

package vulkan

import (
	"errors"
	"fmt"
	"os"
	"testing"
	"time"

	"patchwork/engine"
	"patchwork/shaders"
)

// chain compiles a program of n dependent copies of a few floats.
func chain(t testing.TB, d *Device, n int) engine.Executable {
	t.Helper()
	x := engine.NewBuffer("x", 256)
	if _, err := engine.Allocate(d, "a test", x); err != nil {
		t.Fatal(err)
	}
	p := engine.NewProgram("chain")
	last := x
	for range n {
		next := p.Temp("copy", 256)
		p.Dispatch(shaders.Copy, shaders.CopyParams{N: 64}, last.View(), next.View())
		last = next
	}
	p.Keep(last)
	plan, err := engine.NewPlan(p, 0)
	if err != nil {
		t.Fatal(err)
	}
	e, err := d.Compile(plan, nil)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

var step [shaders.StepWords]uint32

// TestClose opens and closes a device many times without freeing anything: no handle,
// file or thread may leak.
func TestClose(t *testing.T) {
	var before int
	for i := range 12 {
		d := openSoftware(t, i%2 == 0)
		e := chain(t, d, 20)
		if err := e.Run(t.Context(), &step); err != nil {
			t.Fatal(err)
		}
		if _, err := e.Profile(t.Context(), &step); err != nil {
			t.Fatal(err)
		}
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
		e.Free()
		if len(d.live) != 0 {
			t.Fatalf("%d objects live after Close", len(d.live))
		}
		if i == 3 { // after what is made once per process
			before = openFiles(t)
		}
	}
	if after := openFiles(t); after > before {
		t.Errorf("%d files are open, %d were", after, before)
	}
}

func openFiles(t *testing.T) int {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

// TestUseAfterClose checks that a closed device returns errors.
func TestUseAfterClose(t *testing.T) {
	d := openSoftware(t, false)
	e := chain(t, d, 1)
	m, err := d.Allocate(4, "a test")
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if err := e.Run(t.Context(), &step); err == nil {
		t.Error("a program ran")
	}
	if _, err := d.Allocate(4, "a test"); err == nil {
		t.Error("memory was allocated")
	}
	if err := d.Write(m, 0, []byte{1}); err == nil {
		t.Error("memory was written")
	}
	m.Free()
	e.Free()
}

// TestTimeout makes the device too slow: the call fails without hanging, and the device is
// lost.
func TestTimeout(t *testing.T) {
	d := openSoftware(t, false)
	e := chain(t, d, 5000)
	d.timeout = time.Nanosecond
	if err := e.Run(t.Context(), &step); !errors.Is(err, engine.ErrDeviceLost) {
		t.Fatalf("got %v, want the device lost", err)
	}
	d.timeout = softwareTimeout
	if err := e.Run(t.Context(), &step); !errors.Is(err, engine.ErrDeviceLost) {
		t.Errorf("used again: got %v, want the device lost", err)
	}
	e.Free()
	if err := d.Close(); err != nil {
		t.Error(err)
	}
}

// TestOpenMissing opens devices that do not exist.
func TestOpenMissing(t *testing.T) {
	for _, index := range []int{-1, 1000} {
		if _, err := Open(index); !errors.Is(err, engine.ErrNoDevice) {
			t.Errorf("vulkan:%d: got %v, want no such device", index, err)
		}
	}
}

// TestReplayAllocates checks that a replay does not allocate.
func TestReplayAllocates(t *testing.T) {
	d := openSoftware(t, false)
	defer d.Close()
	e := chain(t, d, 10)
	ctx := t.Context()
	if n := testing.AllocsPerRun(20, func() {
		if err := e.Run(ctx, &step); err != nil {
			t.Fatal(err)
		}
	}); n > 1 { // purego's pool of call frames, which the race detector empties
		t.Errorf("%v allocations a replay", n)
	}
}

// TestCacheFile writes a pipeline cache, reads it and damages it.
func TestCacheFile(t *testing.T) {
	file := t.TempDir() + "/patchwork/vulkan"
	writeCache(file, []byte("compiled shaders"))
	if got := string(readCache(file)); got != "compiled shaders" {
		t.Fatalf("got %q", got)
	}
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	data[len(data)-1] ^= 1
	if err := os.WriteFile(file, data, 0o600); err != nil {
		t.Fatal(err)
	}
	if got := readCache(file); got != nil {
		t.Errorf("a damaged cache was read: %q", got)
	}
	if got := readCache(file + ".missing"); got != nil {
		t.Errorf("a missing cache was read: %q", got)
	}
}

// BenchmarkReplay measures small programs, whose time is mostly overhead.
func BenchmarkReplay(b *testing.B) {
	for _, n := range []int{1, 10, 100, 1000, 5000} {
		b.Run(fmt.Sprintf("dispatches=%d", n), func(b *testing.B) {
			d := openSoftware(b, false)
			defer d.Close()
			e := chain(b, d, n)
			b.ReportAllocs()
			var host time.Duration
			for b.Loop() {
				if err := e.Run(b.Context(), &step); err != nil {
					b.Fatal(err)
				}
				host += e.HostTime()
			}
			b.ReportMetric(float64(host.Nanoseconds())/float64(b.N), "host-ns/op")
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n), "ns/dispatch")
		})
	}
}

// BenchmarkCompile measures recording a program of a training step's length.
func BenchmarkCompile(b *testing.B) {
	d := openSoftware(b, false)
	defer d.Close()
	chain(b, d, 1).Free()
	for b.Loop() {
		chain(b, d, 5000).Free()
	}
}
