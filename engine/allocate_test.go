package engine_test

import (
	"errors"
	"slices"
	"testing"

	"patchwork/engine"
	"patchwork/engine/cpu"
	"patchwork/engine/enginetest"
)

// full is a device with a limited capacity in bytes.
type full struct {
	engine.Device
	capacity int64
}

func (f *full) Allocate(bytes int64, what string) (engine.Memory, error) {
	if bytes > f.capacity {
		return nil, &engine.OutOfMemoryError{Device: "full", What: what, Asked: bytes, Available: f.capacity}
	}
	f.capacity -= bytes
	return f.Device.Allocate(bytes, what)
}

// TestAllocateSegments: when the device runs out of memory part of the way, everything is
// freed and the error reports the total.
func TestAllocateSegments(t *testing.T) {
	dev := cpu.Open(1)
	for name, c := range map[string]struct {
		allocate func(engine.Device) ([]engine.Memory, error)
		want     []int64
	}{
		"segments": {func(d engine.Device) ([]engine.Memory, error) {
			return engine.AllocateSegments(d, "a test", engine.Segments{4096, 4096, 1024})
		}, []int64{4096, 4096, 1024}},
		"buffers": {func(d engine.Device) ([]engine.Memory, error) {
			b := engine.NewBuffer("split", 8192)
			b.SplitAt([]int64{3072, 6144})
			return engine.Allocate(d, "a test", engine.NewBuffer("small", 1000), b)
		}, []int64{4096, 3072, 2048}},
	} {
		var total int64
		for _, n := range c.want {
			total += n
		}
		memories, err := c.allocate(enginetest.NewSmall(dev, 4096))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		var sizes []int64
		for _, m := range memories {
			sizes = append(sizes, m.Size())
		}
		if !slices.Equal(sizes, c.want) {
			t.Errorf("%s: memories of %d, want %d", name, sizes, c.want)
		}
		engine.Free(memories)
		_, err = c.allocate(enginetest.NewSmall(&full{dev, total - 1}, 4096))
		var oom *engine.OutOfMemoryError
		if !errors.As(err, &oom) || oom.What != "a test" || oom.Asked != total || oom.Available != total-1 {
			t.Errorf("%s: got %v, want %d bytes requested and %d available", name, err, total, total-1)
		}
		if now, _ := dev.MemoryInUse(); now != 0 {
			t.Errorf("%s: %d bytes are still in use", name, now)
		}
	}
}
