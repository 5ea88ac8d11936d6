//go:build js

package browser

import (
	"strings"
	"syscall/js"
	"testing"

	"patchwork/shaders"
)

// TestShaders compiles every variant that a browser can run, with its bindings as declared
// and with all of them writable, as they are in programs that keep activations in one
// buffer.
func TestShaders(t *testing.T) {
	d, err := open()
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
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
			declared := []byte{}
			for _, b := range k.Bindings {
				mode := byte('r')
				if b.Access != shaders.Read {
					mode = 'w'
				}
				declared = append(declared, mode)
			}
			for _, a := range []access{access(declared), access(strings.Repeat("w", len(declared)))} {
				var module js.Value
				err := d.scoped(func() {
					module = d.device.Call("createShaderModule", map[string]any{"code": a.declare(shaders.Unroll(text))})
				})
				if err != nil {
					t.Errorf("%s (%s): %v", k.ID(v), a, compilation(module))
				}
			}
		}
	}
}
