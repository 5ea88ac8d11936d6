package gpu

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"patchwork/engine"
	"patchwork/shaders"
)

// StepBytes is the size of the step block.
const StepBytes = 4 * shaders.StepWords

// Device has the parts of a backend's device that compiling a plan needs.
type Device[M any] struct {
	engine.Device
	Own       func(m engine.Memory) (M, error)
	NewBlocks func(bytes int64, what string) (M, error) // memory for uniform blocks

	MaxGroups        [3]uint32 // workgroups of a dispatch
	StorageAlignment int64     // of offsets, in bytes
	UniformAlignment int64
}

// Call is a dispatch with its variant chosen and its views located.
type Call struct {
	Variant *shaders.Variant
	Views   []engine.ResolvedView
	Grids   [][3]uint32 // of the variant's passes
	Params  []uint32
	Block   int64 // offset of Params in the parameter blocks
}

// BlockBytes is the size of the call's parameter block.
func (c *Call) BlockBytes() int64 { return int64(max(4*len(c.Params), 16)) }

// Program is a plan's calls and the memory that they use.
type Program[M Memory[D], D comparable] struct {
	Plan  *engine.Plan // divided to fit the device's bindings
	Calls []Call

	Temporaries  []engine.Memory // a memory for each segment of the plan's arena
	Params, Step M               // the parameter blocks of all calls, and the step block

	device   Device[M]
	ownArena bool
	uses     []M // must not have been freed when the program runs
}

// New chooses variants and locates views. It fails with engine.ErrUnsupported where a
// binding or a grid exceeds the device's limits.
func New[M Memory[D], D comparable](dev Device[M], plan *engine.Plan) (*Program[M, D], error) {
	if b := plan.Unplaced(); b != nil {
		return nil, fmt.Errorf("buffer %q has no memory", b.Label)
	}
	p := &Program[M, D]{device: dev, Plan: plan.Within(dev.Info().Limits.MaxBindingBytes)}
	p.Calls = make([]Call, len(p.Plan.Dispatches))
	for i := range p.Calls {
		if err := p.resolve(&p.Plan.Dispatches[i], &p.Calls[i]); err != nil {
			return nil, p.InCall(i, err)
		}
	}
	return p, nil
}

// InCall adds the failed call to an error.
func (p *Program[M, D]) InCall(i int, err error) error {
	d := &p.Plan.Dispatches[i]
	return fmt.Errorf("dispatch %d (%s), kernel %s: %w", i, d.Label, d.Kernel.Name, err)
}

func (p *Program[M, D]) resolve(d *engine.Dispatch, c *Call) error {
	info := p.device.Info()
	if c.Variant, _ = info.Choose(d.Kernel, d.Params, d.Storage); c.Variant == nil {
		return fmt.Errorf("no variant for %+v on %s: %w", d.Params, info.Device, engine.ErrUnsupported)
	}
	c.Params = shaders.PackParams(d.Params)
	for i, v := range d.Views {
		r := engine.Resolve(v)
		if err := p.checkView(v, r); err != nil {
			return fmt.Errorf("binding %s: %w", d.Kernel.Bindings[i].Name, err)
		}
		c.Views = append(c.Views, r)
	}
	for _, pass := range c.Variant.Passes {
		grid := pass.Grid(d.Params)
		for axis, limit := range p.device.MaxGroups {
			if grid[axis] > limit {
				return fmt.Errorf("a grid of %v workgroups, but %s allows %v: %w", grid, info.Device, p.device.MaxGroups, engine.ErrUnsupported)
			}
		}
		c.Grids = append(c.Grids, grid)
	}
	return nil
}

// checkView checks a view's range and records its memory.
func (p *Program[M, D]) checkView(v engine.View, r engine.ResolvedView) error {
	if v.Buffer == nil || r.Bytes == 0 {
		return nil
	}
	var size int64
	if r.Temp {
		size = p.Plan.Arena[r.Segment]
	} else {
		m, err := p.device.Own(r.Memory)
		if err != nil {
			return fmt.Errorf("buffer %q: %w", v.Buffer.Label, err)
		}
		if size = m.Size(); !slices.Contains(p.uses, m) {
			p.uses = append(p.uses, m)
		}
	}
	return p.device.Info().CheckBinding(v, r, size, p.device.StorageAlignment)
}

// Allocate takes an arena for the temporaries, or allocates one where it is nil, and
// memory for the step and parameter blocks. It returns the contents of Params.
func (p *Program[M, D]) Allocate(arena []engine.Memory) (blocks []byte, err error) {
	if arena == nil {
		if arena, err = engine.AllocateSegments(p.device, "activations", p.Plan.Arena); err != nil {
			return nil, err
		}
		p.ownArena = true
	}
	p.Temporaries = arena
	if err := p.Plan.CheckArena(arena); err != nil {
		return nil, err
	}
	for _, a := range arena {
		m, err := p.device.Own(a)
		if err != nil {
			return nil, err
		}
		p.uses = append(p.uses, m)
	}
	if p.Step, err = p.device.NewBlocks(StepBytes, "the step block"); err != nil {
		return nil, err
	}
	blocks = p.blocks()
	p.Params, err = p.device.NewBlocks(max(int64(len(blocks)), 16), "parameter blocks")
	return blocks, err
}

// blocks lays out the parameters of all calls, each at an aligned offset.
func (p *Program[M, D]) blocks() []byte {
	alignment := max(p.device.UniformAlignment, 16)
	var blocks []byte
	for i := range p.Calls {
		c := &p.Calls[i]
		c.Block = int64(len(blocks))
		for _, w := range c.Params {
			blocks = binary.LittleEndian.AppendUint32(blocks, w)
		}
		size := (c.BlockBytes() + alignment - 1) / alignment * alignment
		blocks = append(blocks, make([]byte, c.Block+size-int64(len(blocks)))...)
	}
	return blocks
}

// StepBlock is a step block as Step holds it.
func StepBlock(step *[shaders.StepWords]uint32) []byte {
	block := make([]byte, 0, StepBytes)
	for _, w := range step {
		block = binary.LittleEndian.AppendUint32(block, w)
	}
	return block
}

// ErrFreed is the error of a program that is run after Free.
var ErrFreed = errors.New("a program was run after it was freed")

// CheckMemory fails where memory that the program uses was freed.
func (p *Program[M, D]) CheckMemory() error {
	var freed D
	for _, m := range p.uses {
		if m.Owner() == freed {
			return fmt.Errorf("memory of %s that it uses was freed", engine.Bytes(m.Size()))
		}
	}
	return nil
}

// FreeTemporaries frees the arena where Allocate made it. The backend frees Params and
// Step.
func (p *Program[M, D]) FreeTemporaries() {
	if p.ownArena {
		engine.Free(p.Temporaries)
	}
}
