//go:build cgo && !nowebgpu && ((linux && amd64) || darwin || (windows && amd64))

package webgpu

import (
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/rajveermalviya/go-webgpu/wgpu"

	"patchwork/engine"
	"patchwork/shaders"
)

const stepBytes = 4 * shaders.StepWords

// call is a dispatch ready to be encoded.
type call struct {
	layout layout
	views  []engine.ResolvedView
	params []uint32
	block  int64 // offset of its parameters
	group  *wgpu.BindGroup
	passes []pass
}

type pass struct {
	pipeline *wgpu.ComputePipeline
	grid     [3]uint32
}

// Compile makes the pipelines and bind groups of the plan. It fails with
// engine.ErrUnsupported when a binding or a grid passes the device's limits and
// with engine.ErrOutOfMemory when the temporaries do not fit.
func (d *Device) Compile(p *engine.Plan, arena []engine.Memory) (_ engine.Executable, err error) {
	if err := d.usable(); err != nil {
		return nil, err
	}
	e := &executable{device: d, plan: p.Within(d.info.Limits.MaxBindingBytes)}
	defer func() {
		if err != nil {
			e.release()
			err = fmt.Errorf("%s: %w", p.Program.Name, err)
		}
	}()
	if b := p.Unplaced(); b != nil {
		return nil, fmt.Errorf("buffer %q has no memory", b.Label)
	}
	if err := e.resolve(); err != nil {
		return nil, err
	}
	if err := e.allocate(arena); err != nil {
		return nil, err
	}
	if err := e.bind(); err != nil {
		return nil, err
	}
	e.ends = engine.Pieces(e.plan.Dispatches, d.info.Class)
	d.live[e] = struct{}{}
	return e, nil
}

// resolve chooses variants, makes their pipelines and locates views, and checks
// all against the limits.
func (e *executable) resolve() error {
	e.calls = make([]call, len(e.plan.Dispatches))
	for i := range e.calls {
		d := &e.plan.Dispatches[i]
		if err := e.resolveCall(d, &e.calls[i]); err != nil {
			return fmt.Errorf("dispatch %d (%s), kernel %s: %w", i, d.Label, d.Kernel.Name, err)
		}
	}
	return nil
}

func (e *executable) resolveCall(dispatch *engine.Dispatch, c *call) (err error) {
	d := e.device
	variant, _ := d.info.Choose(dispatch.Kernel, dispatch.Params, dispatch.Storage)
	if variant == nil {
		return fmt.Errorf("no variant for %+v on %s: %w", dispatch.Params, d.info.Device, engine.ErrUnsupported)
	}
	c.params = shaders.PackParams(dispatch.Params)
	if c.layout, err = d.pipelines.layout(d, smallest(dispatch.Kernel, variant, c.params)); err != nil {
		return err
	}
	for j, v := range dispatch.Views {
		r := engine.Resolve(v)
		if err := e.checkView(v, r); err != nil {
			return fmt.Errorf("binding %s: %w", dispatch.Kernel.Bindings[j].Name, err)
		}
		c.views = append(c.views, r)
	}
	for _, s := range variant.Passes {
		grid := s.Grid(dispatch.Params)
		if most := d.limits.MaxComputeWorkgroupsPerDimension; max(grid[0], grid[1], grid[2]) > most {
			return fmt.Errorf("a grid of %v workgroups, %s allows %d each way: %w", grid, d.info.Device, most, engine.ErrUnsupported)
		}
		pipeline, err := d.pipelines.pipeline(d, dispatch.Kernel, variant, s.EntryPoint(), c.layout)
		if err != nil {
			return err
		}
		c.passes = append(c.passes, pass{pipeline, grid})
	}
	return nil
}

// checkView checks where a view lies and notes whose memory it needs.
func (e *executable) checkView(v engine.View, r engine.ResolvedView) error {
	d := e.device
	if v.Buffer == nil || r.Bytes == 0 {
		return nil
	}
	var size int64
	if r.Temp {
		size = e.plan.Arena[r.Segment]
	} else {
		m, err := d.own(r.Memory)
		if err != nil {
			return fmt.Errorf("buffer %q: %w", v.Buffer.Label, err)
		}
		if size = m.size; !slices.Contains(e.uses, m) {
			e.uses = append(e.uses, m)
		}
	}
	return d.info.CheckBinding(v, r, size, int64(d.limits.MinStorageBufferOffsetAlignment))
}

// allocate finds room for the temporaries and for the parameter and step blocks.
func (e *executable) allocate(arena []engine.Memory) (err error) {
	d := e.device
	if arena == nil {
		if arena, err = engine.AllocateSegments(d, "activations", e.plan.Arena); err != nil {
			return err
		}
		e.ownArena = true
	}
	e.arena = arena
	if err := e.plan.CheckArena(arena); err != nil {
		return err
	}
	for _, a := range arena {
		m, err := d.own(a)
		if err != nil {
			return err
		}
		e.uses = append(e.uses, m)
	}
	if e.step, err = d.allocate(stepBytes, "the step block", uniformUsage); err != nil {
		return err
	}
	return e.writeParams()
}

// writeParams lays the parameter blocks of all dispatches out in one buffer.
func (e *executable) writeParams() (err error) {
	d := e.device
	alignment := int64(max(d.limits.MinUniformBufferOffsetAlignment, 16))
	var blocks []byte
	for i := range e.calls {
		c := &e.calls[i]
		c.block = int64(len(blocks))
		block := make([]byte, roundUp(blockBytes(c.params), alignment))
		for j, w := range c.params {
			binary.LittleEndian.PutUint32(block[4*j:], w)
		}
		blocks = append(blocks, block...)
	}
	if e.params, err = d.allocate(max(int64(len(blocks)), 16), "parameter blocks", uniformUsage); err != nil {
		return err
	}
	return d.Write(e.params, 0, blocks)
}

func blockBytes(params []uint32) int64 { return int64(max(4*len(params), 16)) }

// bind makes the bind groups, one for each dispatch.
func (e *executable) bind() (err error) {
	d := e.device
	for i := range e.calls {
		c := &e.calls[i]
		entries := []wgpu.BindGroupEntry{
			{Binding: 0, Buffer: e.params.buffer, Offset: uint64(c.block), Size: uint64(blockBytes(c.params))},
			{Binding: 1, Buffer: e.step.buffer, Size: stepBytes},
		}
		for j, v := range c.views {
			entry := wgpu.BindGroupEntry{Binding: uint32(shaders.FirstStorageBinding + j)}
			switch {
			case v.Bytes == 0:
				entry.Buffer, entry.Size = d.dummy.buffer, uint64(d.dummy.size)
			case v.Temp:
				entry.Buffer, entry.Offset, entry.Size = e.arena[v.Segment].(*memory).buffer, uint64(v.Offset), uint64(roundUp(v.Bytes, 4))
			default:
				entry.Buffer, entry.Offset, entry.Size = v.Memory.(*memory).buffer, uint64(v.Offset), uint64(roundUp(v.Bytes, 4))
			}
			entries = append(entries, entry)
		}
		if c.group, err = d.device.CreateBindGroup(&wgpu.BindGroupDescriptor{Layout: c.layout.group, Entries: entries}); err != nil {
			return fmt.Errorf("dispatch %d: %w", i, d.invalid(err))
		}
	}
	return d.uncaught()
}
