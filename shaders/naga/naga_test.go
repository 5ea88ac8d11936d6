package naga

import (
	"slices"
	"testing"
)

const source = `
@group(0) @binding(2) var<storage, read> a: array<f32>;
@group(0) @binding(3) var<storage, read_write> y: array<f32>;
var<workgroup> tile: array<f32, 64>;
var<workgroup> total: f32;
@compute @workgroup_size(64)
fn first(@builtin(global_invocation_id) id: vec3<u32>, @builtin(local_invocation_index) l: u32) {
  tile[l] = a[id.x];
  if (l == 0u) { total = 1.0; }
  workgroupBarrier();
  var sum = total;
  for (var i = 0u; i < arrayLength(&a); i++) {
    for (var j = 0u; j < 4u; j++) {
      if (i == 7u) { continue; }
      sum += tile[i] * a[i + j];
    }
    if (sum > 1e9) { break; }
  }
  loop {
    if (sum < 1.0) { break; }
    continuing { sum *= 0.5; }
  }
  y[id.x] = sum;
}
@compute @workgroup_size(64)
fn second(@builtin(global_invocation_id) id: vec3<u32>) { y[id.x] = 0.0; }
`

// TestCompile checks that the guards are removed and the shader is kept: its three loops,
// its one barrier, its stores. Compile also runs spirv-val.
func TestCompile(t *testing.T) {
	if _, err := Version(); err != nil {
		t.Skip(err)
	}
	module, err := Compile(source)
	if err != nil {
		t.Fatal(err)
	}
	words, err := decode(module)
	if err != nil {
		t.Fatal(err)
	}
	code := split(words[headerWords:])
	count := func(op uint32) (n int) {
		for _, c := range code {
			if c.opcode() == op {
				n++
			}
		}
		return n
	}
	const opLoopMerge = 246
	for _, want := range []struct {
		name string
		op   uint32
		n    int
	}{{"OpLoopMerge", opLoopMerge, 3}, {"OpControlBarrier", opControlBarrier, 1}, {"OpAll", opAll, 0}, {"OpISub", opISub, 0}} {
		if got := count(want.op); got != want.n {
			t.Errorf("%d × %s, want %d", got, want.name, want.n)
		}
	}
	if !slices.Equal(trim(words), words) {
		t.Error("a trimmed module can be trimmed again")
	}
}

func TestCompileError(t *testing.T) {
	if _, err := Version(); err != nil {
		t.Skip(err)
	}
	if _, err := Compile("fn main( {"); err == nil {
		t.Error("no error for text that is not WGSL")
	}
}
