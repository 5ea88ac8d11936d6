// An invocation computes 4 rows by 8 columns of c; a workgroup has 64 columns. Rows and
// columns past the end load the last ones, and are not stored. What the terms past the
// end load of b is multiplied by 0.
@compute @workgroup_size(8)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) local: u32) {
  let tile = group_index(group, groups);
  let across = (p.n + 63u) / 64u;
  let row = tile / across * 4u;
  let col = tile % across * 64u + 8u * local;
  if (row >= m()) { return; }
  let at = min(vec4<u32>(row) + vec4<u32>(0u, 1u, 2u, 3u), vec4<u32>(m() - 1u)) * p.lda;
  var left = mat4x4<f32>(); // of the first four columns; its columns are rows of c
  var right = mat4x4<f32>();
  for (var i = 0u; i < p.k; i = i + 8u) {
    let b = block(col, i);
    let low = rows(at + i, p.k - i);
    var high = mat4x4<f32>();
    if (p.k - i > 4u) { high = rows(at + i + 4u, p.k - i - 4u); }
    left = left + b.left[0] * low + b.left[1] * high;
    right = right + b.right[0] * low + b.right[1] * high;
  }
  // A copy, so that the loop over the stores, which are long, need not be unrolled.
  var results: array<f32, 32>;
  for (var i = 0u; i < 4u; i = i + 1u) {
    for (var j = 0u; j < 4u; j = j + 1u) {
      results[8u * i + j] = left[i][j];
      results[8u * i + j + 4u] = right[i][j];
    }
  }
  for (var i = 0u; i < 32u; i = i + WIDTH) { finish(vec_of(results[i], results[i + WIDTH - 1u]), row + i / 8u, col + i % 8u); }
}

// Four terms of four rows of a, as columns, of which n are there.
fn rows(at: vec4<u32>, n: u32) -> mat4x4<f32> { return mat4x4<f32>(load4_a(at.x, n), load4_a(at.y, n), load4_a(at.z, n), load4_a(at.w, n)); }

// Eight columns from col on, and eight terms of op(b) from i on: four of each in a matrix,
// whose columns are the terms.
struct Block { left: array<mat4x4<f32>, 2>, right: array<mat4x4<f32>, 2> }
fn block(col: u32, i: u32) -> Block {
  let along = p.trans_b != 0u;
  let last = select(p.k, p.n, along) - 1u;
  let pitch = select(p.n, p.k, along);
  let at = select(min(col, p.n - 8u), i, along);
  let first = vec4<u32>(select(i, col, along)) + vec4<u32>(0u, 1u, 2u, 3u);
  let x = half_block(min(first, vec4<u32>(last)) * pitch + at);
  let y = half_block(min(first + 4u, vec4<u32>(last)) * pitch + at);
  return Block(
    array<mat4x4<f32>, 2>(transposed_if(x[0], along), either(y[0], transpose(x[1]), along)),
    array<mat4x4<f32>, 2>(either(x[1], transpose(y[0]), along), transposed_if(y[1], along)));
}
// Four times eight weights.
fn half_block(at: vec4<u32>) -> array<mat4x4<f32>, 2> {
  let a = unpack(packed(at.x), at.x);
  let b = unpack(packed(at.y), at.y);
  let c = unpack(packed(at.z), at.z);
  let d = unpack(packed(at.w), at.w);
  return array<mat4x4<f32>, 2>(mat4x4<f32>(a[0], b[0], c[0], d[0]), mat4x4<f32>(a[1], b[1], c[1], d[1]));
}
fn transposed_if(x: mat4x4<f32>, flag: bool) -> mat4x4<f32> { return either(x, transpose(x), flag); }
// y where the flag is set, else x.
fn either(x: mat4x4<f32>, y: mat4x4<f32>, flag: bool) -> mat4x4<f32> {
  let yes = vec4<bool>(flag);
  return mat4x4<f32>(select(x[0], y[0], yes), select(x[1], y[1], yes), select(x[2], y[2], yes), select(x[3], y[3], yes));
}
