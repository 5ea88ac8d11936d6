// rmsnorm_linear for GPUs and aligned rows. A workgroup computes 4 columns of a row of y,
// with its invocations along x; an invocation loads TERMS terms of x, w and up in STEPS
// places before it uses the first, to wait for memory once. As each workgroup reads all of
// x, it also sums the squares, and divides by their root mean square at the end.
var<workgroup> squares: array<f32, GROUP>;
var<workgroup> gates: array<vec4<f32>, GROUP>;
var<workgroup> ups: array<vec4<f32>, GROUP>;

struct Sums { square: f32, gate: vec4<f32>, up: vec4<f32> }

// An invocation's part of the sums over x. gated is a constant, so that only one of its
// branches remains.
fn sums_of(start: u32, cols: vec4<u32>, local: u32, gated: bool) -> Sums {
  let end = p.k;
  var square = 0.0;
  var gate = vec4<f32>(0.0);
  var up = vec4<f32>(0.0);
  for (var i = TERMS * local; i < end; i = i + STEPS * TERMS * GROUP) {
    var x: array<Terms, STEPS>;
    var gain: array<Terms, STEPS>;
    var w: array<array<Terms, 4>, STEPS>;
    var v: array<array<Terms, 4>, STEPS>;
    for (var s = 0u; s < STEPS; s = s + 1u) {
      let next = i + s * TERMS * GROUP;
      let at = select(i, next, next < end);
      x[s] = terms_x(start + at);
      gain[s] = terms_gain(at);
      w[s][0] = terms_w(cols.x + at);
      w[s][1] = terms_w(cols.y + at);
      w[s][2] = terms_w(cols.z + at);
      w[s][3] = terms_w(cols.w + at);
      if (gated) {
        v[s][0] = terms_up(cols.x + at);
        v[s][1] = terms_up(cols.y + at);
        v[s][2] = terms_up(cols.z + at);
        v[s][3] = terms_up(cols.w + at);
      }
    }
    for (var s = 0u; s < STEPS; s = s + 1u) {
      let within = i + s * TERMS * GROUP < end;
      let h = times(x[s], gain[s]);
      square = square + select(0.0, dot_terms(x[s], x[s]), within);
      gate = gate + select(vec4<f32>(0.0), vec4<f32>(dot_terms(h, w[s][0]), dot_terms(h, w[s][1]), dot_terms(h, w[s][2]), dot_terms(h, w[s][3])), within);
      if (gated) {
        up = up + select(vec4<f32>(0.0), vec4<f32>(dot_terms(h, v[s][0]), dot_terms(h, v[s][1]), dot_terms(h, v[s][2]), dot_terms(h, v[s][3])), within);
      }
    }
  }
  return Sums(square, gate, up);
}

@compute @workgroup_size(GROUP)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) local: u32) {
  // The rows of the same columns run at the same time, and share them in the cache.
  let index = group_index(group, groups);
  let row = index % p.rows;
  let col = index / p.rows * 4u;
  if (col >= p.n) { return; }
  let start = row * p.k;
  let cols = min(vec4<u32>(col) + vec4<u32>(0u, 1u, 2u, 3u), vec4<u32>(p.n - 1u)) * p.k;
  var sums: Sums;
  if (p.gated != 0u) {
    sums = sums_of(start, cols, local, true);
  } else {
    sums = sums_of(start, cols, local, false);
  }
  var square = sums.square;
  var gate = sums.gate;
  var up = sums.up;
  squares[local] = square;
  gates[local] = gate;
  ups[local] = up;
  workgroupBarrier();
  if (local < 8u) {
    for (var i = local + 8u; i < GROUP; i = i + 8u) {
      square = square + squares[i];
      gate = gate + gates[i];
      up = up + ups[i];
    }
    squares[local] = square;
    gates[local] = gate;
    ups[local] = up;
  }
  workgroupBarrier();
  let j = WIDTH * local; // of the 4 columns
  if (j < 4u) {
    square = squares[0];
    gate = gates[0];
    up = ups[0];
    for (var i = 1u; i < 8u; i = i + 1u) {
      square = square + squares[i];
      gate = gate + gates[i];
      up = up + ups[i];
    }
    let rstd = 1.0 / sqrt(square / f32(p.k) + p.eps);
    gate = gate * rstd;
    up = up * rstd;
    let next = j + WIDTH - 1u;
    finish(vec_of(gate[j], gate[next]), vec_of(up[j], up[next]), row, col + j);
  }
}
