//go:build cgo && !nowebgpu && ((linux && amd64) || darwin || (windows && amd64))

package webgpu

import (
	"fmt"

	"github.com/rajveermalviya/go-webgpu/wgpu"

	"patchwork/engine"
	"patchwork/shaders"
)

// pipelines are the compiled shaders of a device, each made once.
type pipelines struct {
	layouts map[int]layout // by number of storage bindings
	made    map[pipelineKey]*wgpu.ComputePipeline
}

// layout is the shape of a kernel's bind group: the parameter and step blocks,
// then the storage bindings.
type layout struct {
	group    *wgpu.BindGroupLayout
	pipeline *wgpu.PipelineLayout
}

// pipelineKey names an entry point of a kernel's variant.
type pipelineKey struct{ id, entry string }

func newPipelines() pipelines {
	return pipelines{map[int]layout{}, map[pipelineKey]*wgpu.ComputePipeline{}}
}

func (p *pipelines) release() {
	for _, made := range p.made {
		made.Release()
	}
	for _, l := range p.layouts {
		l.pipeline.Release()
		l.group.Release()
	}
}

// layout returns the layout for a number of storage bindings. All of them count
// as written: WebGPU refuses a buffer that one dispatch binds for reading and for
// writing, in different ranges too, and programs share few large buffers.
func (p *pipelines) layout(d *Device, storage int) (layout, error) {
	if l, ok := p.layouts[storage]; ok {
		return l, nil
	}
	if most := int(d.limits.MaxStorageBuffersPerShaderStage); storage > most {
		return layout{}, fmt.Errorf("%d storage buffers, %s binds at most %d: %w", storage, d.info.Device, most, engine.ErrUnsupported)
	}
	entries := make([]wgpu.BindGroupLayoutEntry, shaders.FirstStorageBinding+storage)
	for i := range entries {
		entries[i] = wgpu.BindGroupLayoutEntry{Binding: uint32(i), Visibility: wgpu.ShaderStage_Compute,
			Buffer: wgpu.BufferBindingLayout{Type: wgpu.BufferBindingType_Storage}}
		if i < shaders.FirstStorageBinding {
			entries[i].Buffer.Type = wgpu.BufferBindingType_Uniform
		}
	}
	var l layout
	var err error
	if l.group, err = d.device.CreateBindGroupLayout(&wgpu.BindGroupLayoutDescriptor{Entries: entries}); err != nil {
		return l, fmt.Errorf("%s: %s", d.info.Device, clean(err.Error()))
	}
	if l.pipeline, err = d.device.CreatePipelineLayout(&wgpu.PipelineLayoutDescriptor{BindGroupLayouts: []*wgpu.BindGroupLayout{l.group}}); err != nil {
		l.group.Release()
		return l, fmt.Errorf("%s: %s", d.info.Device, clean(err.Error()))
	}
	p.layouts[storage] = l
	return l, nil
}

// pipeline returns an entry point of a variant, compiled.
func (p *pipelines) pipeline(d *Device, k *shaders.Kernel, v *shaders.Variant, entry string, l layout) (*wgpu.ComputePipeline, error) {
	key := pipelineKey{k.ID(v), entry}
	if made := p.made[key]; made != nil {
		return made, nil
	}
	text, err := k.WGSL(v)
	if err != nil {
		return nil, err
	}
	module, err := d.device.CreateShaderModule(&wgpu.ShaderModuleDescriptor{Label: key.id, WGSLDescriptor: &wgpu.ShaderModuleWGSLDescriptor{Code: text}})
	if err != nil {
		return nil, fmt.Errorf("%s: kernel %s: %s", d.info.Device, key.id, clean(err.Error()))
	}
	defer module.Release()
	made, err := d.device.CreateComputePipeline(&wgpu.ComputePipelineDescriptor{
		Label: key.id, Layout: l.pipeline, Compute: wgpu.ProgrammableStageDescriptor{Module: module, EntryPoint: entry},
	})
	if err != nil {
		return nil, fmt.Errorf("%s: kernel %s: %s", d.info.Device, key.id, clean(err.Error()))
	}
	p.made[key] = made
	return made, uncaught()
}
