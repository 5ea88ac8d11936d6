package shaders

import (
	"slices"
	"strings"
	"testing"
)

func TestStaticUse(t *testing.T) {
	const text = `@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(2) var<storage, read> a: array<f32>;
@group(0) @binding(3) var<storage, read_write> b: array<f32>;
@group(0) @binding(4) var<storage, read> c: array<vec4<f32>>;
fn load_a(i: u32) -> f32 { return a[i]; }
fn twice(i: u32, c: u32) -> f32 { return 2.0 * load_a(i + c); } // not binding c
fn again(i: u32) -> f32 { if (i == 0u) { return 0.0; } return c[i].b; }
@compute @workgroup_size(64)
fn chain(@builtin(global_invocation_id) id: vec3<u32>) { b[id.x] = twice(id.x, 1u); }
@compute @workgroup_size(64)
fn component(@builtin(global_invocation_id) a: vec3<u32>) {
  let v = again(a.x); // b is a component there
  var sum = v;
  for (var b = 0u; b < 4u; b = b + 1u) { sum = sum + f32(b); }
}
@compute @workgroup_size(1)
fn nothing() { }
`
	for _, c := range []struct {
		entry string
		want  []int
	}{{"chain", []int{2, 3}}, {"component", []int{4}}, {"nothing", nil}} {
		if got := StaticUse(text, c.entry); !slices.Equal(got, c.want) {
			t.Errorf("%s uses bindings %v, want %v", c.entry, got, c.want)
		}
	}
}

func TestShareBinding(t *testing.T) {
	const text = `@group(0) @binding(2) var<storage, read_write> a: array<f32>;
@group(0) @binding(3) var<storage, read_write> b: array<f32>;
fn load_a(i: u32) -> f32 { return a[i]; }
fn load_b(i: u32) -> f32 { return b[i]; }
fn load4_b(i: u32, n: u32) -> vec4<f32> {
  return vec4<f32>(b[i], select(0.0, b[i + 1u], n > 1u), 0.0, 0.0);
}
fn store_b(i: u32, value: f32) { b[i] = value; }
fn main() { var b: array<f32, 2>; b[0] = load_a(0u) + load_b(0u); }
`
	const want = `@group(0) @binding(2) var<storage, read_write> a: array<f32>;
fn load_a(i: u32) -> f32 { return a[i]; }
fn load_b(i: u32) -> f32 { return a[i]; }
fn load4_b(i: u32, n: u32) -> vec4<f32> {
  return vec4<f32>(a[i], select(0.0, a[i + 1u], n > 1u), 0.0, 0.0);
}
fn store_b(i: u32, value: f32) { a[i] = value; }
fn main() { var b: array<f32, 2>; b[0] = load_a(0u) + load_b(0u); }
`
	if got := ShareBinding(text, "b", "a", 1); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	vectors := strings.Replace(strings.ReplaceAll(want, "a[i + 1u]", "a[(i + 1u) / 4u][(i + 1u) % 4u]"), "a[i], select", "a[(i) / 4u][(i) % 4u], select", 1)
	for _, verb := range []string{"fn load_b(i: u32) -> f32 { return ", "value: f32) { "} {
		vectors = strings.Replace(vectors, verb+"a[i]", verb+"a[(i) / 4u][(i) % 4u]", 1)
	}
	if got := ShareBinding(text, "b", "a", 4); got != vectors {
		t.Errorf("in vectors of four: got\n%s\nwant\n%s", got, vectors)
	}
}

// TestPassesFit: no pass uses more storage bindings than Chromium lets most GPUs bind. WebGPU
// guarantees 8.
func TestPassesFit(t *testing.T) {
	const limit = 10
	for _, k := range All() {
		for i := range k.Variants {
			v := &k.Variants[i]
			if v.Cooperative != nil {
				continue
			}
			text, err := k.WGSL(v)
			if err != nil {
				t.Fatal(err)
			}
			for _, pass := range v.Passes {
				if used := StaticUse(text, pass.EntryPoint()); len(used) > limit {
					t.Errorf("%s %s uses %d storage bindings, a browser has %d", k.ID(v), pass.EntryPoint(), len(used), limit)
				}
			}
		}
	}
}
