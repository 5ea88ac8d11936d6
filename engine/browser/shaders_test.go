//go:build js

package browser

import (
	"fmt"
	"slices"
	"strings"
	"syscall/js"
	"testing"

	"patchwork/engine/gpu"
	"patchwork/shaders"
)

// TestShaders compiles every variant that a browser can run, with its bindings as declared
// and with all of them writable, as they are in programs that keep activations in one
// buffer.
func TestShaders(t *testing.T) {
	d := openTest(t)
	eachVariant(t, func(k *shaders.Kernel, v *shaders.Variant, text string) {
		for _, a := range []access{declared(k), access(strings.Repeat("w", len(k.Bindings)))} {
			var module js.Value
			err := d.scoped(func() {
				module = d.device.Call("createShaderModule", map[string]any{"code": a.declare(k, v, text)})
			})
			if err != nil {
				t.Errorf("%s (%s): %v", k.ID(v), a, compilation(module))
			}
		}
	})
}

// TestStaticUse makes pipelines of kernels with several passes whose layout has all bindings that
// shaders.StaticUse returns but one. The browser must refuse each before it compiles it. That it
// takes the pipelines with all of them is tested where a kernel has more bindings than the
// device's limit, by TestDevice.
func TestStaticUse(t *testing.T) {
	d := openTest(t)
	eachVariant(t, func(k *shaders.Kernel, v *shaders.Variant, text string) {
		if len(v.Passes) == 1 || v.Storage.Bindings != 0 {
			return
		}
		c := &call{Call: &gpu.Call{Variant: v, Params: make([]uint32, 64)}, access: declared(k)}
		module := d.device.Call("createShaderModule", map[string]any{"code": c.access.declare(k, v, text)})
		for _, pass := range v.Passes {
			used := shaders.StaticUse(text, pass.EntryPoint())
			for i, left := range used {
				layout := d.pipelines.layout(d, k, c, slices.Delete(slices.Clone(used), i, i+1))
				err := d.scoped(func() {
					d.device.Call("createComputePipeline", map[string]any{
						"layout": layout.pipeline, "compute": map[string]any{"module": module, "entryPoint": pass.EntryPoint()},
					})
				})
				if want := fmt.Sprintf("@binding(%d)", left); err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("%s %s without binding %d: got %v, want an error about %s", k.ID(v), pass.EntryPoint(), left, err, want)
				}
			}
		}
	})
}

func openTest(t *testing.T) *Device {
	d, err := open()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	return d
}

// eachVariant calls f with the variants that a browser can run, and with their text.
func eachVariant(t *testing.T, f func(k *shaders.Kernel, v *shaders.Variant, text string)) {
	for _, k := range shaders.All() {
		for i := range k.Variants {
			v := &k.Variants[i]
			needs, err := k.Requirements(v)
			if err != nil {
				t.Fatal(err)
			}
			if v.Cooperative != nil || needs.Subgroup {
				continue
			}
			text, err := k.WGSL(v)
			if err != nil {
				t.Fatal(err)
			}
			f(k, v, shaders.Unroll(text))
		}
	}
}

// declared is the access of a kernel's bindings as it declares them.
func declared(k *shaders.Kernel) access {
	all := []byte{}
	for _, b := range k.Bindings {
		mode := byte('r')
		if b.Access != shaders.Read {
			mode = 'w'
		}
		all = append(all, mode)
	}
	return access(all)
}
