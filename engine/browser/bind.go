//go:build js

package browser

import (
	"runtime"
	"syscall/js"

	"patchwork/engine"
	"patchwork/engine/gpu"
)

// binder describes the calls of a program for bind of browser.js.
type binder struct {
	layouts, pipelines, buffers table
	numbers                     []float64
}

// table holds objects of JavaScript, each once, by what they are in Go.
type table struct {
	all   []any
	index map[any]int
}

func (t *table) of(key, object any) float64 {
	i, ok := t.index[key]
	if !ok {
		if t.index == nil {
			t.index = map[any]int{}
		}
		i = len(t.all)
		t.index[key], t.all = i, append(t.all, object)
	}
	return float64(i)
}

// binder returns the description of all calls.
func (e *executable) binder() *binder {
	b := &binder{}
	for i := range e.calls {
		c := &e.calls[i]
		b.add(float64(2+len(c.Views)), float64(len(c.pipelines)))
		b.span(e.Params, c.Block, c.BlockBytes())
		b.span(e.Step, 0, gpu.StepBytes)
		for j, v := range c.Views {
			switch bytes := roundUp(v.Bytes, gpu.Word); {
			case v.Bytes == 0: // a range of its own: two that are written must not overlap
				b.span(e.device.dummy, int64(j)*engine.Alignment, engine.Alignment)
			case v.Temp:
				b.span(e.Temporaries[v.Segment].(*memory), v.Offset, bytes)
			default:
				b.span(v.Memory.(*memory), v.Offset, bytes)
			}
		}
		for pass, p := range c.pipelines {
			grid := c.Grids[pass]
			b.add(b.layouts.of(p.layout, p.layout.bound), b.pipelines.of(p, p.made), float64(grid[0]), float64(grid[1]), float64(grid[2]))
		}
	}
	return b
}

func (b *binder) add(numbers ...float64) { b.numbers = append(b.numbers, numbers...) }

// span describes a range of a memory.
func (b *binder) span(m *memory, offset, bytes int64) {
	b.add(b.buffers.of(m, m.buffer), float64(offset), float64(bytes))
}

// bind makes the bind groups, and returns the calls for encode of browser.js.
func (b *binder) bind(d *Device) js.Value {
	calls := script.Call("bind", d.device, b.layouts.all, b.pipelines.all, b.buffers.all, pointer(b.numbers), len(b.numbers))
	runtime.KeepAlive(b.numbers)
	return calls
}
