//go:build cgo && ((linux && (amd64 || arm64)) || (windows && amd64))

package vulkan

import (
	"fmt"
	"runtime"
	"slices"
	"time"
	"unsafe"

	vk "github.com/vulkan-go/vulkan"
	"golang.org/x/sync/errgroup"

	"patchwork/engine"
	"patchwork/shaders"
)

// pipelines are the compiled shaders of a device, each made once.
type pipelines struct {
	cache   cache
	layouts map[int]layout // by number of storage bindings
	made    map[pipelineKey]vk.Pipeline
}

// layout is the shape of a kernel's descriptor set: the parameter and step
// blocks, then the storage bindings.
type layout struct {
	set      vk.DescriptorSetLayout
	pipeline vk.PipelineLayout
}

// pipelineKey names an entry point of a kernel's variant, with its specialisation
// constants.
type pipelineKey struct{ id, entry, constants string }

func (p *pipelines) open(d *Device) error {
	p.reset()
	return p.cache.open(d)
}

func (p *pipelines) reset() {
	p.layouts, p.made = map[int]layout{}, map[pipelineKey]vk.Pipeline{}
}

func (p *pipelines) close(d *Device) {
	p.cache.close(d)
	for _, made := range p.made {
		vk.DestroyPipeline(d.handle, made, nil)
	}
	for _, l := range p.layouts {
		vk.DestroyPipelineLayout(d.handle, l.pipeline, nil)
		vk.DestroyDescriptorSetLayout(d.handle, l.set, nil)
	}
}

// layout returns the layout for a number of storage bindings.
func (p *pipelines) layout(d *Device, storage int) (layout, error) {
	if l, ok := p.layouts[storage]; ok {
		return l, nil
	}
	if limit := d.physical.limits.storageBuffers; storage > limit {
		return layout{}, fmt.Errorf("%d storage buffers, but %s binds at most %d: %w", storage, d.info.Device, limit, engine.ErrUnsupported)
	}
	bindings := make([]setLayoutBinding, shaders.FirstStorageBinding+storage)
	for i := range bindings {
		bindings[i] = setLayoutBinding{binding: uint32(i), kind: storageBuffer, count: 1, stages: uint32(vk.ShaderStageComputeBit)}
		if i < shaders.FirstStorageBinding {
			bindings[i].kind = uniformBuffer
		}
	}
	var l layout
	set := setLayoutCreateInfo{
		header:   header{sType: vk.StructureTypeDescriptorSetLayoutCreateInfo},
		count:    uint32(len(bindings)),
		bindings: unsafe.SliceData(bindings),
	}
	r := d.procs.createDescriptorSetLayout.call(id(d.handle), uintptr(unsafe.Pointer(&set)), 0, uintptr(unsafe.Pointer(&l.set)))
	if err := check("vkCreateDescriptorSetLayout", r); err != nil {
		return l, err
	}
	pipeline := pipelineLayoutCreateInfo{
		header:   header{sType: vk.StructureTypePipelineLayoutCreateInfo},
		setCount: 1,
		sets:     &l.set,
	}
	r = d.procs.createPipelineLayout.call(id(d.handle), uintptr(unsafe.Pointer(&pipeline)), 0, uintptr(unsafe.Pointer(&l.pipeline)))
	if err := check("vkCreatePipelineLayout", r); err != nil {
		vk.DestroyDescriptorSetLayout(d.handle, l.set, nil)
		return l, err
	}
	p.layouts[storage] = l
	return l, nil
}

// build is a variant whose pipelines are to be made.
type build struct {
	kernel    *shaders.Kernel
	variant   *shaders.Variant
	layout    layout
	constants []uint32 // for specialisation, from number 0 on
}

// newBuild returns what to make for a call with the given number of storage bindings.
func (d *Device) newBuild(k *shaders.Kernel, v *shaders.Variant, params any, storage int) (build, error) {
	l, err := d.pipelines.layout(d, storage)
	return build{k, v, l, v.Constants(params, d.info.Caps())}, err
}

// pass returns the specialisation constants of a pass, and the key of its pipeline.
func (b build) pass(i int) (pipelineKey, []uint32) {
	key, constants := pipelineKey{id: b.kernel.ID(b.variant), entry: b.variant.Passes[i].EntryPoint()}, b.constants
	if b.variant.HasPassConstant() {
		constants = append(slices.Clone(constants), uint32(i))
	}
	if len(constants) > 0 {
		key.constants = fmt.Sprint(constants)
	}
	return key, constants
}

// make makes the pipelines that are still missing, on all cores: a driver's compiler is
// slow.
func (p *pipelines) make(d *Device, builds []build) error {
	var group errgroup.Group
	group.SetLimit(runtime.GOMAXPROCS(0))
	missing := map[pipelineKey]*vk.Pipeline{}
	for _, b := range builds {
		for i := range b.variant.Passes {
			key, constants := b.pass(i)
			if p.made[key] != nil || missing[key] != nil {
				continue
			}
			pipeline := new(vk.Pipeline)
			missing[key] = pipeline
			group.Go(func() (err error) {
				*pipeline, err = d.newPipeline(b, key, constants, p.cache.handle, 0)
				return err
			})
		}
	}
	err := d.waitFor(&group, len(missing))
	for key, pipeline := range missing {
		if *pipeline != nil {
			p.made[key] = *pipeline
			p.cache.changed = true
		}
	}
	return err
}

// slowCompile is how long pipelines may be made until it is reported.
const slowCompile = time.Second

// waitFor waits for goroutines that make pipelines, and reports that they take long.
func (d *Device) waitFor(group *errgroup.Group, kernels int) error {
	if d.slowCompile == nil {
		return group.Wait()
	}
	done := make(chan error, 1)
	go func() { done <- group.Wait() }()
	select {
	case err := <-done:
		return err
	case <-time.After(slowCompile):
		d.slowCompile(kernels)
		return <-done
	}
}

// newPipeline compiles one entry point, with a cache (nil for none) and bits of
// VkPipelineCreateFlags. It may run concurrently with others.
func (d *Device) newPipeline(b build, key pipelineKey, constants []uint32, cache vk.PipelineCache, flags uint32) (vk.Pipeline, error) {
	code, err := b.kernel.SPIRV(b.variant)
	if err != nil {
		return nil, err
	}
	var module vk.ShaderModule
	source := shaderModuleCreateInfo{
		header: header{sType: vk.StructureTypeShaderModuleCreateInfo},
		size:   uint64(len(code)),
		code:   unsafe.SliceData(code),
	}
	r := d.procs.createShaderModule.call(id(d.handle), uintptr(unsafe.Pointer(&source)), 0, uintptr(unsafe.Pointer(&module)))
	if err := check("vkCreateShaderModule", r); err != nil {
		return nil, fmt.Errorf("kernel %s: %w", key.id, err)
	}
	defer vk.DestroyShaderModule(d.handle, module, nil)
	info := computePipelineCreateInfo{
		header: header{sType: vk.StructureTypeComputePipelineCreateInfo},
		flags:  flags,
		stage: shaderStage{
			header: header{sType: vk.StructureTypePipelineShaderStageCreateInfo},
			stage:  uint32(vk.ShaderStageComputeBit),
			module: module,
			entry:  cString(key.entry),
		},
		layout: b.layout.pipeline,
	}
	special := specialized(constants)
	if special != nil {
		info.stage.specialization = unsafe.Pointer(special)
	}
	size := requiredSubgroupSize{header{sType: structRequiredSubgroupSize}, d.subgroupSize(b.variant)}
	if size.size > 0 {
		info.stage.next, info.stage.flags = unsafe.Pointer(&size), requireFullSubgroups
	}
	var pipeline vk.Pipeline
	r = d.procs.createComputePipelines.call(id(d.handle), id(cache), 1,
		uintptr(unsafe.Pointer(&info)), 0, uintptr(unsafe.Pointer(&pipeline)))
	if err := check("vkCreateComputePipelines", r); err != nil {
		return nil, fmt.Errorf("kernel %s: %w", key.id, err)
	}
	return pipeline, nil
}

// subgroupSize is the size that a variant's pipelines require, 0 where the driver chooses.
func (d *Device) subgroupSize(v *shaders.Variant) uint32 {
	if c := v.Cooperative; c != nil && c.Scope == shaders.ScopeSubgroup {
		return uint32(d.info.Limits.SubgroupSize)
	}
	return 0
}

// specialized describes 32-bit specialisation constants, nil for none.
func specialized(constants []uint32) *specialization {
	if len(constants) == 0 {
		return nil
	}
	entries := make([]specializationEntry, len(constants))
	for i := range entries {
		entries[i] = specializationEntry{constant: uint32(i), offset: uint32(4 * i), size: 4}
	}
	return &specialization{
		count: uint32(len(entries)), entries: unsafe.SliceData(entries),
		bytes: uint64(4 * len(constants)), data: unsafe.Pointer(unsafe.SliceData(constants)),
	}
}
