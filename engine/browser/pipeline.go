//go:build js

package browser

import (
	"context"
	"fmt"
	"strings"
	"syscall/js"

	"patchwork/engine"
	"patchwork/engine/gpu"
	"patchwork/shaders"
)

// pipelines are the compiled shaders of a device, each made once.
type pipelines struct {
	layouts map[string]*layout // by their bindings
	made    map[pipelineKey]*pipeline
}

// layout is the shape of a bind group: the parameter and step blocks, then the storage
// bindings of a kernel, or those of them that a pass uses.
type layout struct {
	group, pipeline js.Value
	bound           map[string]any // group with the numbers of its bindings, for bind of browser.js
}

// pipelineKey names an entry point of a kernel's variant, with its storage bindings.
type pipelineKey struct{ id, entry, access string }

// pipeline is an entry point, which the browser compiles beside the program.
type pipeline struct {
	key     pipelineKey
	layout  *layout
	pending promised
	module  js.Value
	made    js.Value
}

func newPipelines() pipelines {
	return pipelines{map[string]*layout{}, map[pipelineKey]*pipeline{}}
}

// shaderStageCompute is GPUShaderStage.COMPUTE.
const shaderStageCompute = 0x4

// storageLimit is the number of storage bindings that a layout may have.
func (d *Device) storageLimit() int {
	return d.device.Get("limits").Get("maxStorageBuffersPerShaderStage").Int()
}

// storage are the storage bindings in the layout of a pass: all of the kernel, so that its
// passes share a bind group, or those that the pass uses where a device cannot bind all.
func (d *Device) storage(k *shaders.Kernel, c *call, text, entry string) ([]int, error) {
	limit := d.storageLimit()
	if len(k.Bindings) <= limit {
		return declaredBindings(c), nil
	}
	used := shaders.StaticUse(text, entry)
	if len(used) > limit {
		return nil, fmt.Errorf("%d storage buffers, but %s binds at most %d: %w", len(used), d.info.Device, limit, engine.ErrUnsupported)
	}
	return used, nil
}

// declaredBindings are the numbers of a call's storage bindings.
func declaredBindings(c *call) (all []int) {
	for i := range c.access {
		if _, ok := c.access.shares(i); !ok {
			all = append(all, shaders.FirstStorageBinding+i)
		}
	}
	return all
}

// layout returns the layout of a call's bind group with these storage bindings. The smallest
// size of a storage binding is that of one element.
func (p *pipelines) layout(d *Device, k *shaders.Kernel, c *call, storage []int) *layout {
	key := fmt.Sprint(c.BlockBytes(), c.access, storage)
	for i := range k.Bindings {
		key += fmt.Sprint(" ", k.ElementBytes(c.Variant, i))
	}
	if l, ok := p.layouts[key]; ok {
		return l
	}
	var entries, numbers []any
	add := func(binding int, kind string, smallest int64) {
		numbers = append(numbers, binding)
		entries = append(entries, map[string]any{"binding": binding, "visibility": shaderStageCompute, "buffer": map[string]any{"type": kind, "minBindingSize": smallest}})
	}
	add(0, "uniform", c.BlockBytes())
	add(1, "uniform", gpu.StepBytes)
	for _, binding := range storage {
		i := binding - shaders.FirstStorageBinding
		add(binding, c.access.kind(i), int64(k.ElementBytes(c.Variant, i)))
	}
	l := &layout{group: d.device.Call("createBindGroupLayout", map[string]any{"entries": entries})}
	l.pipeline = d.device.Call("createPipelineLayout", map[string]any{"bindGroupLayouts": []any{l.group}})
	l.bound = map[string]any{"layout": l.group, "bindings": numbers}
	p.layouts[key] = l
	return l
}

// access tells of each storage binding of a call whether it is declared for reading, 'r', or
// for reading and writing, 'w', or has no declaration, since it is the same range as another
// binding, whose array it uses: that one's letter, 'A' for the first.
type access string

// shares returns the other binding whose array binding i uses.
func (a access) shares(i int) (other int, ok bool) { return int(a[i]) - 'A', a[i] <= 'Z' }

// accessOf declares a binding read-only where WebGPU allows it, so that its compiler may
// take what is read for uniform: not where the call also writes to the same buffer, even in
// another range. Programs share few large buffers. Writable bindings must not overlap: those of
// the same range become one.
func accessOf(k *shaders.Kernel, v *shaders.Variant, views []engine.ResolvedView) access {
	same := func(a, b engine.ResolvedView) bool { // absent ones are all in the dummy buffer
		return (a.Bytes > 0) == (b.Bytes > 0) && a.Temp == b.Temp && a.Segment == b.Segment && a.Memory == b.Memory
	}
	all := []byte{}
	for i, v := range views {
		mode := byte('r')
		for j, other := range views {
			if k.Bindings[j].Access != shaders.Read && (i == j || same(v, other)) {
				mode = 'w'
			}
		}
		all = append(all, mode)
	}
	lends := make([]bool, len(all))
	for i, one := range views {
		for j, other := range views {
			if i != j && one == other && one.Bytes > 0 && all[i] == 'w' && all[j] == 'w' && !lends[i] && canShare(k, v, i, j, one.Bytes) {
				all[i], lends[j] = byte('A'+j), true
			}
		}
	}
	return access(all)
}

// canShare reports whether binding i can use the array of binding j, which has the same bytes: if the
// types are the same, or if i is only read and j has vectors of its type.
func canShare(k *shaders.Kernel, v *shaders.Variant, i, j int, bytes int64) bool {
	one, other := k.ElementType(v, i), k.ElementType(v, j)
	return one == other || k.Bindings[i].Access == shaders.Read && strings.HasSuffix(other, "<"+one+">") && bytes%int64(k.ElementBytes(v, j)) == 0
}

func (a access) kind(i int) string {
	if a[i] == 'r' {
		return "read-only-storage"
	}
	return "storage"
}

// declare changes the declarations of a variant's WGSL text to the access.
func (a access) declare(k *shaders.Kernel, v *shaders.Variant, text string) string {
	for i := range a {
		if j, ok := a.shares(i); ok {
			text = shaders.ShareBinding(text, k.Bindings[i].Name, k.Bindings[j].Name, k.ElementBytes(v, j)/k.ElementBytes(v, i))
		}
		if a[i] == 'w' {
			before := fmt.Sprintf("@binding(%d) var<storage, read", shaders.FirstStorageBinding+i)
			text = strings.Replace(text, before+">", before+"_write>", 1)
		}
	}
	return text
}

// start returns an entry point of a variant; the browser begins to compile it unless it has.
func (p *pipelines) start(d *Device, k *shaders.Kernel, c *call, entry string) (*pipeline, error) {
	key := pipelineKey{k.ID(c.Variant), entry, string(c.access)}
	if made := p.made[key]; made != nil {
		return made, nil
	}
	text, err := k.WGSL(c.Variant)
	if err != nil {
		return nil, err
	}
	text = c.access.declare(k, c.Variant, shaders.Unroll(text))
	storage, err := d.storage(k, c, text, entry)
	if err != nil {
		return nil, err
	}
	made := &pipeline{key: key, layout: p.layout(d, k, c, storage)}
	err = try(func() {
		made.module = d.device.Call("createShaderModule", map[string]any{"label": key.id, "code": text})
		made.pending = watch(d.device.Call("createComputePipelineAsync", map[string]any{
			"label": key.id, "layout": made.layout.pipeline, "compute": map[string]any{"module": made.module, "entryPoint": entry},
		}))
	})
	if err != nil {
		return nil, fmt.Errorf("kernel %s: %w", key.id, err)
	}
	p.made[key] = made
	return made, nil
}

// finish waits until a pipeline is compiled.
func (d *Device) finish(made *pipeline) error {
	if made.pending == nil {
		return nil
	}
	var err error
	made.made, err = made.pending.wait(context.Background())
	if err == nil {
		made.pending, made.module = nil, js.Undefined()
		return nil
	}
	delete(d.pipelines.made, made.key)
	d.fault = nil // the same error, of the module
	if d.lost != nil {
		return d.lost
	}
	return fmt.Errorf("kernel %s: %w%s", made.key.id, err, compilation(made.module))
}

// compilation is what the compiler says of a module, with lines of its text.
func compilation(module js.Value) string {
	info, err := Await(module.Call("getCompilationInfo"))
	if err != nil {
		return ""
	}
	var all strings.Builder
	messages := info.Get("messages")
	for i := range messages.Length() {
		m := messages.Index(i)
		fmt.Fprintf(&all, "; line %d: %s", m.Get("lineNum").Int(), gpu.OneLine(m.Get("message").String()))
	}
	return all.String()
}
