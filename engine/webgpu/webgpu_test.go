//go:build cgo && !nowebgpu && ((linux && amd64) || darwin || (windows && amd64))

package webgpu

import (
	"context"
	"os"
	"slices"
	"testing"

	"patchwork/engine"
	"patchwork/engine/enginetest"
	"patchwork/shaders"
)

// openKind opens the first adapter that fits.
func openKind(t testing.TB, what string, fits func(engine.Info) bool) *Device {
	t.Helper()
	infos, err := List()
	index := slices.IndexFunc(infos, fits)
	if index < 0 {
		t.Skipf("no %s WebGPU adapter (on Debian, one in software: apt install mesa-vulkan-drivers): %v", what, err)
	}
	d, err := open(index)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func software(i engine.Info) bool { return i.Kind == "software" }

func TestSoftware(t *testing.T) {
	enginetest.Run(t, func(t *testing.T) engine.Device { return openKind(t, "software", software) })
}

func TestHardware(t *testing.T) {
	enginetest.Run(t, func(t *testing.T) engine.Device {
		if infos, err := List(); os.Getenv("REQUIRE_GPU") == "1" && !slices.ContainsFunc(infos, engine.Info.Hardware) {
			t.Fatalf("REQUIRE_GPU=1: %v", err)
		}
		return openKind(t, "hardware", engine.Info.Hardware)
	})
}

// TestNoLeak counts the library's handles before and after programs were
// compiled, run, profiled and freed.
func TestNoLeak(t *testing.T) {
	d := openKind(t, "software", software)
	defer d.Close()
	use := func() {
		buffer := engine.NewBuffer("x", 4096)
		memories, err := engine.Allocate(d, "test", buffer)
		if err != nil {
			t.Fatal(err)
		}
		p := engine.NewProgram("fill")
		temp := p.Temp("y", 4096).View()
		for range 3 {
			p.Dispatch(shaders.Fill, shaders.FillParams{N: 1024, Value: 1}, temp)
			p.Dispatch(shaders.Fill, shaders.FillParams{N: 1024, Value: 2}, buffer.View())
		}
		plan, err := engine.NewPlan(p)
		if err != nil {
			t.Fatal(err)
		}
		exe, err := d.Compile(plan, nil)
		if err != nil {
			t.Fatal(err)
		}
		var step [shaders.StepWords]uint32
		for range 5 {
			if err := exe.Run(context.Background(), &step); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := exe.Profile(context.Background(), &step); err != nil {
			t.Fatal(err)
		}
		got := make([]float32, 1024)
		if err := engine.Download(d, buffer.View(), got); err != nil || got[1023] != 2 {
			t.Fatalf("got %v, %v", got[1023], err)
		}
		exe.Free()
		for _, m := range memories {
			m.Free()
		}
		d.wait()
	}
	use() // makes the pipelines, which stay
	before := handles(d)
	for range 10 {
		use()
	}
	if after := handles(d); after != before {
		t.Errorf("handles before %+v, after %+v", before, after)
	}
}

type handleCounts struct{ buffers, groups, layouts, pipelines, commands, queries, modules uint64 }

func handles(d *Device) handleCounts {
	r := d.instance.GenerateReport()
	hub := r.Vulkan
	if hub == nil {
		return handleCounts{}
	}
	return handleCounts{
		hub.Buffers.NumOccupied, hub.BindGroups.NumOccupied, hub.BindGroupLayouts.NumOccupied, hub.ComputePipelines.NumOccupied,
		hub.CommandBuffers.NumOccupied, hub.QuerySets.NumOccupied, hub.ShaderModules.NumOccupied,
	}
}
