//go:build cgo && ((linux && (amd64 || arm64)) || (windows && amd64))

package vulkan

import (
	"errors"
	"strings"
	"testing"

	"github.com/ebitengine/purego"
	vk "github.com/vulkan-go/vulkan"

	"patchwork/engine"
	"patchwork/shaders"
)

// answers is a Vulkan function that does nothing and returns a result.
func answers(r vk.Result) proc {
	return proc(purego.NewCallback(func() uintptr { return uintptr(uint32(r)) }))
}

// TestFaults makes the driver's calls fail: each failure is an error of its type that
// names the call, the device is lost when the driver reports so and usable otherwise, and
// closing never hangs.
func TestFaults(t *testing.T) {
	const host, device, gone = vk.ErrorOutOfHostMemory, vk.ErrorOutOfDeviceMemory, vk.ErrorDeviceLost
	for _, c := range []struct {
		call   string
		at     func(p *deviceProcs) *proc
		result vk.Result
		want   error
	}{
		{"vkAllocateMemory", func(p *deviceProcs) *proc { return &p.allocateMemory }, device, engine.ErrOutOfMemory},
		{"vkAllocateMemory", func(p *deviceProcs) *proc { return &p.allocateMemory }, host, engine.ErrOutOfMemory},
		{"vkCreateDescriptorPool", func(p *deviceProcs) *proc { return &p.createDescriptorPool }, device, engine.ErrOutOfMemory},
		{"vkAllocateDescriptorSets", func(p *deviceProcs) *proc { return &p.allocateDescriptorSets }, vk.ErrorOutOfPoolMemory, engine.ErrOutOfMemory},
		{"vkCreateShaderModule", func(p *deviceProcs) *proc { return &p.createShaderModule }, host, engine.ErrOutOfMemory},
		{"vkCreateComputePipelines", func(p *deviceProcs) *proc { return &p.createComputePipelines }, device, engine.ErrOutOfMemory},
		{"vkQueueSubmit", func(p *deviceProcs) *proc { return &p.queueSubmit }, device, engine.ErrOutOfMemory},
		{"vkQueueSubmit", func(p *deviceProcs) *proc { return &p.queueSubmit }, gone, engine.ErrDeviceLost},
		{"vkWaitForFences", func(p *deviceProcs) *proc { return &p.waitForFences }, gone, engine.ErrDeviceLost},
		{"vkWaitForFences", func(p *deviceProcs) *proc { return &p.waitForFences }, vk.Timeout, engine.ErrDeviceLost},
	} {
		t.Run(c.call+"/"+c.want.Error(), func(t *testing.T) {
			d := openSoftware(t, false)
			defer d.Close()
			at := c.at(&d.procs)
			working := *at
			*at = answers(c.result)
			err := oneCall(t, d)
			if !errors.Is(err, c.want) {
				t.Fatalf("got %v, want %v", err, c.want)
			}
			if c.result != vk.Timeout && c.call != "vkAllocateMemory" && !strings.Contains(err.Error(), c.call) {
				t.Errorf("%v does not name %s", err, c.call)
			}
			*at = working
			again := oneCall(t, d)
			if lost := errors.Is(c.want, engine.ErrDeviceLost); lost != errors.Is(again, engine.ErrDeviceLost) || !lost && again != nil {
				t.Errorf("used again after %v: %v", err, again)
			}
		})
	}
}

// oneCall allocates, compiles and runs a call of a kernel with three bindings.
func oneCall(t *testing.T, d *Device) error {
	x, y := engine.NewBuffer("x", 256), engine.NewBuffer("y", 256)
	memories, err := engine.Allocate(d, "a test", x, y)
	if err != nil {
		return err
	}
	defer engine.Free(memories)
	p := engine.NewProgram("one call")
	p.Dispatch(shaders.SwiGLU, shaders.SwiGLUParams{N: shaders.N(64)}, x.View(), x.View(), y.View())
	plan, err := engine.NewPlan(p, 0)
	if err != nil {
		t.Fatal(err)
	}
	e, err := d.Compile(plan, nil)
	if err != nil {
		return err
	}
	defer e.Free()
	return e.Run(t.Context(), &step)
}

// TestAllocationFails checks the error of an allocation that fails in the driver.
func TestAllocationFails(t *testing.T) {
	d := openSoftware(t, false)
	defer d.Close()
	d.procs.allocateMemory = answers(vk.ErrorOutOfDeviceMemory)
	_, err := d.Allocate(1<<20, "weights")
	var oom *engine.OutOfMemoryError
	if !errors.As(err, &oom) || oom.Device != d.info.Device || oom.What != "weights" || oom.Asked != 1<<20 || oom.Available <= 0 {
		t.Errorf("got %#v (%v), want the device, the bytes and what they are for", oom, err)
	}
	if now, _ := d.MemoryInUse(); now != d.dummy.size {
		t.Errorf("%d bytes are in use afterwards, want the dummy's %d", now, d.dummy.size)
	}
}

// TestMissingLimits opens devices below the requirements, and compiles for one that binds
// fewer buffers than a kernel has.
func TestMissingLimits(t *testing.T) {
	for _, c := range []struct {
		name  string
		spoil func(d *Device)
	}{
		{"an old version", func(d *Device) { d.physical.api = vk.Version(vk.MakeVersion(1, 0, 0)) }},
		{"no compute queue", func(d *Device) { d.physical.family = noQueue }},
		{"a missing extension", func(d *Device) { d.physical.features.extensions = []string{"VK_EXT_not_there"} }},
	} {
		d := openSoftware(t, false)
		spoiled := &Device{instance: d.instance, physical: d.physical, info: d.info, live: map[releaser]struct{}{}}
		whole := *d.physical
		c.spoil(spoiled)
		if err := spoiled.create(); !errors.Is(err, engine.ErrUnsupported) {
			t.Errorf("%s: got %v, want engine.ErrUnsupported", c.name, err)
		}
		*d.physical = whole
		d.Close()
	}
	d := openSoftware(t, false)
	defer d.Close()
	d.physical.limits.storageBuffers = 2
	if err := oneCall(t, d); !errors.Is(err, engine.ErrUnsupported) || !strings.Contains(err.Error(), "3 storage buffers") {
		t.Errorf("three buffers on a device that binds two: %v", err)
	}
}

// TestSlowCompile: compiling that takes a second is reported once, with the number of
// kernels; a fast one is not.
func TestSlowCompile(t *testing.T) {
	d := openSoftware(t, false)
	defer d.Close()
	reported := make(chan int, 9)
	d.OnSlowCompile(func(kernels int) { reported <- kernels })
	d.procs.createComputePipelines = answers(vk.ErrorOutOfHostMemory)
	oneCall(t, d)
	if len(reported) > 0 {
		t.Error("a fast compilation was reported")
	}
	// The driver waits for the report.
	d.procs.createComputePipelines = proc(purego.NewCallback(func() uintptr {
		reported <- <-reported
		return uintptr(^uint32(0)) // VK_ERROR_OUT_OF_HOST_MEMORY
	}))
	if err := oneCall(t, d); !errors.Is(err, engine.ErrOutOfMemory) {
		t.Errorf("got %v, want %v", err, engine.ErrOutOfMemory)
	}
	if len(reported) != 1 || <-reported != 1 {
		t.Errorf("%d reports, want one of 1 kernel", len(reported))
	}
}
