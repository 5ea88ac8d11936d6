// An invocation computes 4 rows by 8 columns of c; a workgroup has 64 columns. Rows and
// columns past the end load the last ones, and are not stored. What terms past the end
// load of b is multiplied by 0.
@compute @workgroup_size(8)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) local: u32) {
  let tile = group_index(group, groups);
  let across = (p.n + 63u) / 64u;
  let row = tile / across * 4u;
  let col = tile % across * 64u + 8u * local;
  if (row >= m()) { return; }
  let at = min(vec4<u32>(row) + vec4<u32>(0u, 1u, 2u, 3u), vec4<u32>(m() - 1u)) * p.lda;
  let along = p.trans_b != 0u;
  let last = select(p.k, p.n, along) - 1u;
  let pitch = select(p.n, p.k, along);
  var left = mat4x4<f32>(); // of the first four columns; its columns are rows of c
  var right = mat4x4<f32>();
  // Each time four rows of b as stored, eight weights of each: where b is [N,K] eight
  // terms of four columns, else eight columns of four terms.
  for (var s = 0u; s < (p.k + 7u) / 8u * 2u; s = s + 1u) {
    let i = s / 2u * 8u;
    let half = s % 2u * 4u;
    let rows = min(vec4<u32>(half + select(i, col, along)) + vec4<u32>(0u, 1u, 2u, 3u), vec4<u32>(last));
    let b = eight_of(rows * pitch + select(min(col, p.n - 8u), i, along));
    let x = transposed_if(b.first, along) * terms(at, i + select(half, 0u, along));
    let y = transposed_if(b.second, along) * terms(at, i + select(half, 4u, along));
    left = left + either(x, sum_if(x, y, half == 0u), along);
    right = right + either(y, sum_if(x, y, half != 0u), along);
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

// Four terms of four rows of a from i on, as columns; 0 past the end.
fn terms(at: vec4<u32>, i: u32) -> mat4x4<f32> {
  if (i >= p.k) { return mat4x4<f32>(); }
  let n = p.k - i;
  return mat4x4<f32>(load4_a(at.x + i, n), load4_a(at.y + i, n), load4_a(at.z + i, n), load4_a(at.w + i, n));
}
// The first and the second four of eight weights at four places.
struct Eight { first: mat4x4<f32>, second: mat4x4<f32> }
fn eight_of(at: vec4<u32>) -> Eight {
  let a = unpack(packed(at.x), at.x);
  let b = unpack(packed(at.y), at.y);
  let c = unpack(packed(at.z), at.z);
  let d = unpack(packed(at.w), at.w);
  return Eight(mat4x4<f32>(a[0], b[0], c[0], d[0]), mat4x4<f32>(a[1], b[1], c[1], d[1]));
}
fn transposed_if(x: mat4x4<f32>, flag: bool) -> mat4x4<f32> { return either(x, transpose(x), flag); }
fn sum_if(x: mat4x4<f32>, y: mat4x4<f32>, flag: bool) -> mat4x4<f32> { return either(mat4x4<f32>(), x + y, flag); }
// y where the flag is set, else x.
fn either(x: mat4x4<f32>, y: mat4x4<f32>, flag: bool) -> mat4x4<f32> {
  let yes = vec4<bool>(flag);
  return mat4x4<f32>(select(x[0], y[0], yes), select(x[1], y[1], yes), select(x[2], y[2], yes), select(x[3], y[3], yes));
}
