//go:build cgo && !nowebgpu && ((linux && amd64) || darwin || (windows && amd64))

package webgpu

import (
	"fmt"

	"github.com/rajveermalviya/go-webgpu/wgpu"

	"patchwork/engine"
	"patchwork/engine/gpu"
	"patchwork/shaders"
)

// pipelines are the compiled shaders of a device, each made once.
type pipelines struct {
	layouts map[string]layout // by their bindings' smallest sizes
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
	return pipelines{map[string]layout{}, map[pipelineKey]*wgpu.ComputePipeline{}}
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

// smallest is the minimum size in bytes of each of a call's bindings: the parameter and
// step blocks, then one element of each array.
func smallest(k *shaders.Kernel, c *gpu.Call) []uint64 {
	sizes := []uint64{uint64(c.BlockBytes()), gpu.StepBytes}
	for i := range k.Bindings {
		sizes = append(sizes, k.ElementBytes(c.Variant, i))
	}
	return sizes
}

// layout returns the layout for bindings of the given smallest sizes. The sizes are set
// because otherwise the library checks every kernel of a pass against those of the first
// one with the same layout. All storage is declared read-write: WebGPU does not allow a
// dispatch to bind a buffer both read-only and read-write, even in different ranges, and
// programs share few large buffers.
func (p *pipelines) layout(d *Device, sizes []uint64) (layout, error) {
	key := fmt.Sprint(sizes)
	if l, ok := p.layouts[key]; ok {
		return l, nil
	}
	if storage, limit := len(sizes)-shaders.FirstStorageBinding, int(d.limits.MaxStorageBuffersPerShaderStage); storage > limit {
		return layout{}, fmt.Errorf("%d storage buffers, but %s binds at most %d: %w", storage, d.info.Device, limit, engine.ErrUnsupported)
	}
	entries := make([]wgpu.BindGroupLayoutEntry, len(sizes))
	for i, size := range sizes {
		entries[i] = wgpu.BindGroupLayoutEntry{Binding: uint32(i), Visibility: wgpu.ShaderStage_Compute,
			Buffer: wgpu.BufferBindingLayout{Type: wgpu.BufferBindingType_Storage, MinBindingSize: size}}
		if i < shaders.FirstStorageBinding {
			entries[i].Buffer.Type = wgpu.BufferBindingType_Uniform
		}
	}
	var l layout
	var err error
	if l.group, err = d.device.CreateBindGroupLayout(&wgpu.BindGroupLayoutDescriptor{Entries: entries}); err != nil {
		return l, d.invalid(err)
	}
	if l.pipeline, err = d.device.CreatePipelineLayout(&wgpu.PipelineLayoutDescriptor{BindGroupLayouts: []*wgpu.BindGroupLayout{l.group}}); err != nil {
		l.group.Release()
		return l, d.invalid(err)
	}
	p.layouts[key] = l
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
	module, err := d.shader(key.id, shaders.Unroll(text))
	if err != nil {
		return nil, err
	}
	defer module.Release()
	made, err := d.device.CreateComputePipeline(&wgpu.ComputePipelineDescriptor{
		Label: key.id, Layout: l.pipeline, Compute: wgpu.ProgrammableStageDescriptor{Module: module, EntryPoint: entry},
	})
	if err != nil {
		return nil, fmt.Errorf("kernel %s: %w", key.id, d.invalid(err))
	}
	p.made[key] = made
	return made, d.uncaught()
}

func (d *Device) shader(id, text string) (*wgpu.ShaderModule, error) {
	module, err := d.device.CreateShaderModule(&wgpu.ShaderModuleDescriptor{Label: id, WGSLDescriptor: &wgpu.ShaderModuleWGSLDescriptor{Code: text}})
	if err != nil {
		return nil, fmt.Errorf("kernel %s: %w", id, d.invalid(err))
	}
	return module, nil
}
