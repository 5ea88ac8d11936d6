// An invocation computes 16 rows by 8 columns of c; a workgroup has 64 columns. Rows and
// columns past the end load the last ones, and are not stored. One of the loops runs: the
// others' bounds are 0, since a software device executes both sides of a branch.
@compute @workgroup_size(8)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) local: u32) {
  let tile = group_index(group, groups);
  let across = (p.n + 63u) / 64u;
  let row = tile / across * 16u;
  let col = tile % across * 64u + 8u * local;
  if (row >= m()) { return; }
  var at_a: array<vec4<u32>, 4>;
  for (var r = 0u; r < 4u; r = r + 1u) {
    at_a[r] = min(vec4<u32>(row + 4u * r) + vec4<u32>(0u, 1u, 2u, 3u), vec4<u32>(m() - 1u)) * p.lda;
  }
  // The first four columns as a matrix whose columns are rows of c, and the others.
  var left: array<mat4x4<f32>, 4>;
  var right: array<mat4x4<f32>, 4>;

  // b [N,K]: eight terms of each column, four columns at a time.
  for (var i = 0u; i < select(0u, p.k, p.trans_b != 0u); i = i + 8u) {
    let b0 = columns(col, i);
    let b1 = columns(col + 4u, i);
    for (var r = 0u; r < 4u; r = r + 1u) {
      let a0 = rows(at_a[r] + i, 4u);
      let a1 = rows(at_a[r] + i + 4u, 4u);
      left[r] = left[r] + b0.low * a0 + b0.high * a1;
      right[r] = right[r] + b1.low * a0 + b1.high * a1;
    }
  }
  // b [K,N]: eight columns of each term, four terms at a time.
  let first = min(col, p.n - 8u);
  for (var i = 0u; i < select(p.k, 0u, p.trans_b != 0u); i = i + 4u) {
    let terms = min(vec4<u32>(i) + vec4<u32>(0u, 1u, 2u, 3u), vec4<u32>(p.k - 1u)) * p.n + first;
    let b0 = eight(terms.x);
    let b1 = eight(terms.y);
    let b2 = eight(terms.z);
    let b3 = eight(terms.w);
    for (var r = 0u; r < 4u; r = r + 1u) {
      let a = rows(at_a[r] + i, p.k - i);
      left[r] = left[r] + mat4x4<f32>(b0[0], b1[0], b2[0], b3[0]) * a;
      right[r] = right[r] + mat4x4<f32>(b0[1], b1[1], b2[1], b3[1]) * a;
    }
  }
  // A copy, so that loops need not be unrolled: the stores are long.
  var results: array<f32, 129>;
  for (var r = 0u; r < 4u; r = r + 1u) {
    for (var i = 0u; i < 4u; i = i + 1u) {
      for (var j = 0u; j < 4u; j = j + 1u) {
        results[(4u * r + i) * 8u + j] = left[r][i][j];
        results[(4u * r + i) * 8u + 4u + j] = right[r][i][j];
      }
    }
  }
  for (var i = 0u; i < 16u; i = i + 1u) {
    for (var j = 0u; j < 8u; j = j + WIDTH) { finish(vec_of(results[8u * i + j], results[8u * i + j + WIDTH - 1u]), row + i, col + j); }
  }
}

fn eight(i: u32) -> mat2x4<f32> { return unpack(packed(i), i); }
// Four terms of four rows of a, as columns, of which n are there.
fn rows(at: vec4<u32>, n: u32) -> mat4x4<f32> { return mat4x4<f32>(load4_a(at.x, n), load4_a(at.y, n), load4_a(at.z, n), load4_a(at.w, n)); }
// Eight terms of four columns: the columns of each matrix are its terms.
struct Columns { low: mat4x4<f32>, high: mat4x4<f32> }
fn columns(col: u32, i: u32) -> Columns {
  let at = min(vec4<u32>(col) + vec4<u32>(0u, 1u, 2u, 3u), vec4<u32>(p.n - 1u)) * p.k + i;
  let b0 = eight(at.x);
  let b1 = eight(at.y);
  let b2 = eight(at.z);
  let b3 = eight(at.w);
  return Columns(transpose(mat4x4<f32>(b0[0], b1[0], b2[0], b3[0])), transpose(mat4x4<f32>(b0[1], b1[1], b2[1], b3[1])));
}
