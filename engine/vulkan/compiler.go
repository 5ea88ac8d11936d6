//go:build cgo && ((linux && (amd64 || arm64)) || (windows && amd64))

package vulkan

import (
	"fmt"
	"math"
	"runtime"
	"slices"
	"time"
	"unsafe"

	vk "github.com/vulkan-go/vulkan"

	"patchwork/engine"
	"patchwork/shaders"
)

// executableExtension lets a program read what a driver's compiler made of a pipeline.
const executableExtension = "VK_KHR_pipeline_executable_properties"

// Compiler is a device that was opened only to compile kernels and to read what the
// driver's compiler made of them. It submits nothing and allocates no memory, so that
// drivers without hardware (engine.Null) work too. Its methods may be called from one
// goroutine at a time.
type Compiler struct {
	device *Device
	// statistics is false where the driver lacks the extension: then only Time works.
	statistics bool
}

// OpenCompiler opens device number index of List to compile. Its errors match
// engine.ErrNoDevice and engine.ErrUnsupported.
func OpenCompiler(index int) (_ *Compiler, err error) {
	d, err := locate(index)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			d.Close()
		}
	}()
	c := &Compiler{device: d}
	if err := d.physical.suitable(); err != nil {
		return nil, fmt.Errorf("vulkan:%d (%s): %w", index, d.info.Name, err)
	}
	if c.statistics = slices.Contains(d.instance.extensions(d.physical.handle), executableExtension); c.statistics {
		f := &d.physical.features
		on := &featureValues{header: header{structExecutableFeatures, f.chain.next}, on: [maxFeatureMembers]uint32{1}}
		f.chain.next = unsafe.Pointer(on)
		f.extensions = append(f.extensions, executableExtension)
	}
	if err := d.createHandle(); err != nil {
		return nil, fmt.Errorf("vulkan:%d (%s): %w", index, d.info.Name, err)
	}
	d.procs = loadDeviceProcs(d.instance.procs.getDeviceProcAddress, d.handle)
	d.pipelines.reset()
	return c, nil
}

// Info describes the device.
func (c *Compiler) Info() engine.Info { return c.device.info }

// SetClass makes the choice of variants that of another class of device.
func (c *Compiler) SetClass(class shaders.Class) { c.device.info.Class = class }

// SetSubgroupSize makes the device one whose subgroups all have this size, of those that
// it has: variants that require a size require this one.
func (c *Compiler) SetSubgroupSize(n int) error {
	l := c.device.physical.info.Limits
	if n < max(l.MinSubgroupSize, 1) || n > l.MaxSubgroupSize || n&(n-1) != 0 {
		return fmt.Errorf("%s has subgroups of %d to %d, not of %d: %w",
			c.device.info.Device, l.MinSubgroupSize, l.MaxSubgroupSize, n, engine.ErrUnsupported)
	}
	set := &c.device.info.Limits
	set.SubgroupSize, set.MinSubgroupSize, set.MaxSubgroupSize = n, n, n
	return nil
}

// Close releases the device.
func (c *Compiler) Close() error { return c.device.Close() }

// Compile makes the pipelines of a variant's entry points, each distinct one once, as the
// engine does for a call with these parameters, but without a cache. With texts it also
// returns the compiler's internal representations. It fails with engine.ErrUnsupported
// where the driver does not report statistics.
func (c *Compiler) Compile(k *shaders.Kernel, v *shaders.Variant, params any, texts bool) ([]Compiled, error) {
	d := c.device
	if !c.statistics {
		return nil, fmt.Errorf("%s (%s): its driver does not report what its compiler makes of a kernel: it lacks %s: %w",
			d.info.Device, d.info.Name, executableExtension, engine.ErrUnsupported)
	}
	b, err := d.newBuild(k, v, params, len(k.Bindings))
	if err != nil {
		return nil, err
	}
	var all []Compiled
	done := map[pipelineKey]bool{}
	for pass := range v.Passes {
		key, constants := b.pass(pass)
		if done[key] {
			continue
		}
		done[key] = true
		one, err := c.compile(b, key, constants, texts)
		if err != nil {
			return nil, err
		}
		all = append(all, one)
	}
	return all, nil
}

func (c *Compiler) compile(b build, key pipelineKey, constants []uint32, texts bool) (Compiled, error) {
	d, flags := c.device, uint32(captureStatistics)
	if texts {
		flags |= captureTexts
	}
	out := Compiled{Entry: key.entry, Constants: constants, Required: int(d.subgroupSize(b.variant))}
	begin := time.Now()
	pipeline, err := d.newPipeline(b, key, constants, nil, flags)
	out.Time = time.Since(begin)
	if err != nil {
		return out, err
	}
	defer vk.DestroyPipeline(d.handle, pipeline, nil)
	properties, err := c.executable(pipeline)
	if err != nil {
		return out, fmt.Errorf("kernel %s: %w", key.id, err)
	}
	out.SubgroupSize = int(properties.subgroupSize)
	info := &executableInfo{header: header{sType: structExecutableInfo}, pipeline: pipeline}
	for _, s := range list[executableStatistic](d, d.procs.executableStatistics, unsafe.Pointer(info), structExecutableStatistic, nil) {
		out.Statistics = append(out.Statistics, Statistic{goString(s.name[:]), goString(s.description[:]), s.number()})
	}
	if !texts {
		return out, nil
	}
	// The first call gets the sizes, the second the texts.
	var contents [][]byte
	for _, t := range list[executableText](d, d.procs.executableTexts, unsafe.Pointer(info), structExecutableText, nil) {
		contents = append(contents, make([]byte, t.size))
	}
	filled := list(d, d.procs.executableTexts, unsafe.Pointer(info), structExecutableText, func(i int, t *executableText) {
		if i < len(contents) {
			t.size, t.data = uint64(len(contents[i])), unsafe.SliceData(contents[i])
		}
	})
	for i, t := range filled {
		if i < len(contents) && t.isText != 0 {
			out.Texts = append(out.Texts, Text{goString(t.name[:]), goString(t.description[:]), goString(contents[i])})
		}
	}
	return out, nil
}

// executable returns the properties of a compute pipeline's one executable.
func (c *Compiler) executable(p vk.Pipeline) (executableProperties, error) {
	info := &pipelineInfo{header{sType: structPipelineInfo}, p}
	all := list[executableProperties](c.device, c.device.procs.executableProperties, unsafe.Pointer(info), structExecutableProperties, nil)
	if len(all) != 1 {
		return executableProperties{}, fmt.Errorf("the driver reports %d executables of a compute pipeline, want 1", len(all))
	}
	return all[0], nil
}

// list calls a function that lists extensible structs about a pipeline; fill, if not nil,
// prepares them. It returns nil where the function fails.
func list[T any](d *Device, get proc, info unsafe.Pointer, kind vk.StructureType, fill func(int, *T)) []T {
	var n uint32
	if get == 0 || get.call(id(d.handle), uintptr(info), uintptr(unsafe.Pointer(&n)), 0) != vk.Success || n == 0 {
		return nil
	}
	all := make([]T, n)
	for i := range all {
		(*header)(unsafe.Pointer(&all[i])).sType = kind
		if fill != nil {
			fill(i, &all[i])
		}
	}
	r := get.call(id(d.handle), uintptr(info), uintptr(unsafe.Pointer(&n)), uintptr(unsafe.Pointer(unsafe.SliceData(all))))
	runtime.KeepAlive(info)
	if r != vk.Success {
		return nil
	}
	return all[:min(int(n), len(all))]
}

// number converts a statistic's value, which may be a boolean, an integer or a float.
func (s *executableStatistic) number() float64 {
	switch s.format {
	case 0: // VK_PIPELINE_EXECUTABLE_STATISTIC_FORMAT_BOOL32_KHR
		return float64(uint32(s.value))
	case 1: // …_INT64_KHR
		return float64(int64(s.value))
	case 2: // …_UINT64_KHR
		return float64(s.value)
	}
	return math.Float64frombits(s.value)
}

// Time makes the pipelines of dispatches on all cores, each distinct one once, as a device
// does that compiles a program. cache is CompileTime.Cache of an earlier call, nil to
// compile everything.
func (c *Compiler) Time(dispatches []engine.Dispatch, cache []byte) (t CompileTime, err error) {
	d := c.device
	var p pipelines
	p.reset()
	if err := p.cache.create(d, cache); err != nil {
		return t, err
	}
	defer p.close(d)
	var builds []build
	for i := range dispatches {
		call := &dispatches[i]
		v, _ := d.info.Choose(call.Kernel, call.Params, call.Storage)
		if v == nil {
			return t, fmt.Errorf("kernel %s: no variant for %+v on %s: %w", call.Kernel.Name, call.Params, d.info.Device, engine.ErrUnsupported)
		}
		b, err := d.newBuild(call.Kernel, v, call.Params, len(call.Kernel.Bindings))
		if err != nil {
			return t, err
		}
		builds = append(builds, b)
	}
	begin := time.Now()
	err = p.make(d, builds)
	return CompileTime{len(p.made), time.Since(begin), p.cache.data(d)}, err
}
