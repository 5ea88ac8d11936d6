//go:build !js

package shaders_test

import (
	"bytes"
	"testing"

	"patchwork/shaders"
	"patchwork/shaders/glslc"
	"patchwork/shaders/naga"
)

// TestFresh fails when a committed module does not belong to its kernel's text.
func TestFresh(t *testing.T) {
	stale, err := shaders.Stale()
	if err != nil {
		t.Fatal(err)
	}
	for id, why := range stale {
		t.Errorf("kernel %s %s: run make shaders", id, why)
	}
}

// TestReproducible compiles every shader again, where the manifest's compiler of its
// language is installed, and compares bytes.
func TestReproducible(t *testing.T) {
	manifest, err := shaders.ReadManifest()
	if err != nil {
		t.Fatal(err)
	}
	wgsl, noWGSL := naga.Version()
	glsl, noGLSL := glslc.Version()
	for _, k := range shaders.All() {
		for i := range k.Variants {
			v := &k.Variants[i]
			t.Run(k.ID(v), func(t *testing.T) {
				t.Parallel()
				compile, version, needed, reason := naga.Compile, wgsl, manifest.Compiler, noWGSL
				if v.Cooperative != nil {
					compile, version, needed, reason = glslc.Compile, glsl, manifest.GLSL, noGLSL
				}
				if version != needed {
					t.Skipf("needs %s: found %q, %v", needed, version, reason)
				}
				text, err := k.Text(v)
				if err != nil {
					t.Fatal(err)
				}
				want, err := compile(text)
				if err != nil {
					t.Fatal(err)
				}
				if got, err := k.SPIRV(v); err != nil || !bytes.Equal(got, want) {
					t.Errorf("the committed module differs from the compiler's output (%v): run make shaders", err)
				}
			})
		}
	}
}
