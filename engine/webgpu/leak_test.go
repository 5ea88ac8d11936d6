//go:build cgo && !nowebgpu && ((linux && amd64) || darwin || (windows && amd64))

package webgpu

import (
	"testing"

	"github.com/rajveermalviya/go-webgpu/wgpu"

	"patchwork/engine"
	"patchwork/shaders"
)

var step [shaders.StepWords]uint32

// fills compiles a program that fills a buffer of n floats and a temporary.
func fills(t testing.TB, d *Device, n int) (engine.Executable, *engine.Buffer, []engine.Memory) {
	t.Helper()
	y := engine.NewBuffer("y", int64(4*n))
	memories, err := engine.Allocate(d, "a test", y)
	if err != nil {
		t.Fatal(err)
	}
	p := engine.NewProgram("fills")
	temp := p.Temp("temporary", int64(4*n))
	p.Keep(temp)
	p.Dispatch(shaders.Fill, shaders.FillParams{N: uint32(n), Value: 1}, temp.View())
	p.Dispatch(shaders.Fill, shaders.FillParams{N: uint32(n), Value: 2}, y.View())
	plan, err := engine.NewPlan(p, 0)
	if err != nil {
		t.Fatal(err)
	}
	e, err := d.Compile(plan, nil)
	if err != nil {
		t.Fatal(err)
	}
	return e, y, memories
}

// use compiles, runs and profiles a program and reads its result.
func use(t testing.TB, d *Device) (engine.Executable, []engine.Memory) {
	t.Helper()
	e, y, memories := fills(t, d, 1024)
	for range 5 {
		if err := e.Run(t.Context(), &step); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := e.Profile(t.Context(), &step); err != nil {
		t.Fatal(err)
	}
	got := make([]float32, 1024)
	if err := engine.Download(d, y.View(), got); err != nil || got[1023] != 2 {
		t.Fatalf("got %v, %v", got[1023], err)
	}
	return e, memories
}

// TestNoLeak counts the library's handles before and after programs were
// compiled, run, profiled and freed.
func TestNoLeak(t *testing.T) {
	d := openKind(t, "software", software)
	defer d.Close()
	round := func() handleCounts {
		e, memories := use(t, d)
		e.Free()
		engine.Free(memories)
		if err := d.wait(t.Context()); err != nil { // lets the library free them
			t.Fatal(err)
		}
		return handles(d)
	}
	before := round() // creates the pipelines, which are cached
	for range 10 {
		if after := round(); after != before {
			t.Fatalf("handles before %+v, after %+v", before, after)
		}
	}
}

// TestCloseReleases closes devices without freeing anything before: no handle is left
// except those of the device and its adapter, which are released with the instance.
func TestCloseReleases(t *testing.T) {
	for range 3 {
		d := openKind(t, "software", software)
		e, _ := use(t, d)
		d.releaseAll()
		if left := handles(d); left != (handleCounts{adapters: 1, devices: 1}) {
			t.Errorf("left after closing: %+v", left)
		}
		if now, _ := d.MemoryInUse(); now != 0 || len(d.live) != 0 {
			t.Errorf("%d bytes and %d objects live after closing", now, len(d.live))
		}
		e.Free()
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	}
}

type handleCounts struct {
	adapters, devices, buffers, groups, layouts, pipelineLayouts, pipelines, commands, queries, modules uint64
}

func handles(d *Device) handleCounts {
	report := d.instance.GenerateReport()
	for _, hub := range []*wgpu.HubReport{report.Vulkan, report.Metal, report.Dx12} {
		if hub != nil {
			return handleCounts{
				hub.Adapters.NumOccupied, hub.Devices.NumOccupied, hub.Buffers.NumOccupied, hub.BindGroups.NumOccupied,
				hub.BindGroupLayouts.NumOccupied, hub.PipelineLayouts.NumOccupied, hub.ComputePipelines.NumOccupied,
				hub.CommandBuffers.NumOccupied, hub.QuerySets.NumOccupied, hub.ShaderModules.NumOccupied,
			}
		}
	}
	return handleCounts{}
}
