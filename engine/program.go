package engine

import (
	"fmt"

	"patchwork/shaders"
)

// Alignment of buffers inside an allocation, in bytes: the largest that Vulkan
// and WebGPU devices ask of a storage binding's offset.
const Alignment = 256

// Buffer is a named range of device memory. A persistent buffer (weights, inputs, a
// key/value cache) is allocated by Allocate and outlives programs; a temporary one
// belongs to a Program, whose plan gives it an offset in the arena.
type Buffer struct {
	Label string
	Bytes int64
	// Type is BF16 or F16 where floats are stored in 16 bits. Otherwise elements have
	// four bytes, of the type that the kernel's binding declares.
	Type shaders.Type

	temp bool
	keep bool

	splits      []int64      // byte offsets in a persistent buffer; see SplitAt
	allocations []allocation // nil until Allocate

	segment int   // of the arena, of a temporary buffer that is planned
	offset  int64 // in the segment
}

// NewBuffer declares a persistent buffer; Allocate allocates it on a device.
func NewBuffer(label string, bytes int64) *Buffer {
	return &Buffer{Label: label, Bytes: bytes}
}

// View is the whole buffer.
func (b *Buffer) View() View { return View{b, 0, b.Bytes} }

// Temporary reports whether the buffer belongs to a program's arena.
func (b *Buffer) Temporary() bool { return b.temp }

// Placed returns the memory and the offset of a persistent buffer, of the first part of
// one that is split.
func (b *Buffer) Placed() (Memory, int64) {
	first := b.allocationAt(0)
	return first.memory, first.offset
}

// View is a byte range of a buffer. The zero View is an absent optional binding.
type View struct {
	Buffer *Buffer
	Offset int64
	Bytes  int64
}

// Slice is a part of the view, in bytes.
func (v View) Slice(offset, bytes int64) View {
	if offset < 0 || bytes < 0 || offset+bytes > v.Bytes {
		panic(fmt.Sprintf("engine: slice [%d,+%d) of %q, which has %d bytes", offset, bytes, v.Buffer.Label, v.Bytes))
	}
	return View{v.Buffer, v.Offset + offset, bytes}
}

// Dispatch is one recorded call of a kernel.
type Dispatch struct {
	Kernel    *shaders.Kernel
	Params    any
	Views     []View // in binding order, scratch included
	Storage   shaders.Storage
	Label     string  // what it computes, for traces: "layers.0.mlp.down"
	CostScale float64 // fraction of the declared cost that the data require, e.g. with an attention mask; 0 = all
}

// Cost is the work of the call under a step block, which holds the number of rows; nil
// stands for the maximum.
func (d *Dispatch) Cost(step []uint32) shaders.Cost {
	cost := d.Kernel.Cost(d.Params)
	if step != nil {
		cost = d.Kernel.CostAt(d.Params, step)
	}
	if d.CostScale > 0 {
		cost.Flops *= d.CostScale
	}
	cost.Bytes *= d.storageRatio()
	return cost
}

// storageRatio is the size of all bindings relative to 32-bit floats, for which costs are
// declared.
func (d *Dispatch) storageRatio() float64 {
	var bytes, wide int64
	for i, v := range d.Views {
		bytes += v.Bytes
		wide += v.Bytes * 4 / d.Storage.Of(i, d.Kernel.Bindings[i]).Size()
	}
	if d.Storage.Bindings == 0 || wide == 0 {
		return 1
	}
	return float64(bytes) / float64(wide)
}

// Program is a recorded list of kernel calls for fixed shapes. Recording needs
// no device.
type Program struct {
	Name       string
	Dispatches []Dispatch

	label string
	temps []*Buffer
	err   error
}

// NewProgram starts an empty recording.
func NewProgram(name string) *Program { return &Program{Name: name} }

// Temp declares a temporary buffer, which is live from the first dispatch that uses it to
// the last.
func (p *Program) Temp(label string, bytes int64) *Buffer {
	b := &Buffer{Label: label, Bytes: bytes, temp: true}
	p.temps = append(p.temps, b)
	return b
}

// Keep makes a temporary buffer keep its contents to the end of the program, so
// that it can be read afterwards.
func (p *Program) Keep(b *Buffer) { b.keep = true }

// SetLabel names the dispatches recorded from here on.
func (p *Program) SetLabel(label string) { p.label = label }

// Dispatch records a call. Views are in binding order without the scratch, and start at
// multiples of Alignment. The first error is kept and returned by Err and NewPlan.
func (p *Program) Dispatch(k *shaders.Kernel, params any, views ...View) {
	if k.HasScratch() {
		var scratch View
		if n := k.Scratch(params); n > 0 {
			scratch = p.Temp(k.Name+" scratch", n).View()
		}
		views = append(views[:len(views):len(views)], scratch)
	}
	storage, err := checkCall(k, params, views)
	if err != nil && p.err == nil {
		p.err = fmt.Errorf("%s: dispatch %d (%s): %w", p.Name, len(p.Dispatches), p.label, err)
	}
	p.Dispatches = append(p.Dispatches, Dispatch{Kernel: k, Params: params, Views: views, Storage: storage, Label: p.label})
}

// SetCostScale sets the fraction of its declared cost that the last recorded call has: an
// attention mask, for example, may exclude most of the scores.
func (p *Program) SetCostScale(scale float64) { p.Dispatches[len(p.Dispatches)-1].CostScale = scale }

// Err is the first error of recording.
func (p *Program) Err() error { return p.err }

// checkCall finds how the views are stored and returns an error when the kernel does not
// support it.
func checkCall(k *shaders.Kernel, params any, views []View) (s shaders.Storage, err error) {
	if err := k.CheckParams(params); err != nil {
		return s, err
	}
	if len(views) != len(k.Bindings) {
		return s, fmt.Errorf("kernel %s has %d bindings, but got %d views", k.Name, len(k.Bindings), len(views))
	}
	for i, v := range views {
		b := k.Bindings[i]
		switch {
		case v.Buffer == nil && !b.Optional && !b.Scratch:
			return s, fmt.Errorf("kernel %s: binding %s is absent", k.Name, b.Name)
		case v.Buffer != nil && v.Offset%Alignment != 0:
			return s, fmt.Errorf("kernel %s: binding %s is bound at offset %d of %q, not a multiple of %d, which some devices require", k.Name, b.Name, v.Offset, v.Buffer.Label, Alignment)
		case v.Buffer != nil && !v.Buffer.Contiguous(v.Offset, v.Bytes):
			return s, fmt.Errorf("kernel %s: binding %s crosses a split of %q with bytes [%d,+%d)", k.Name, b.Name, v.Buffer.Label, v.Offset, v.Bytes)
		case v.Buffer != nil && v.Buffer.Type.Half():
			if s, err = s.With(i, v.Buffer.Type); err != nil {
				return s, fmt.Errorf("kernel %s: %w", k.Name, err)
			}
		}
	}
	if !k.Stores(params, s) {
		return s, fmt.Errorf("kernel %s does not support %s with %+v", k.Name, k.Describe(s), params)
	}
	return s, nil
}
