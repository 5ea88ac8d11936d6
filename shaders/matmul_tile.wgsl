// For GPUs: a workgroup computes SIDE rows and columns of c, DEPTH terms at a time in
// shared memory. An invocation has ROWS by COLS blocks of 4×4 results. Of 32 invocations,
// 4 rows of 8 are neighbours, so that they read few different blocks of shared memory.
// The loops over blocks and terms are unrolled in the text (see DeclVariant.Unroll):
// what a variable indexes, a compiler puts into memory.

var<workgroup> tile_a: array<vec4<f32>, LINES>; // [DEPTH][PITCH], each 4 rows of op(a)
var<workgroup> tile_b: array<vec4<f32>, LINES>; // [DEPTH][PITCH], each 4 columns of op(b)

const YS: u32 = GROUP / 16u; // invocations down a column of blocks

@compute @workgroup_size(GROUP)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) local: u32) {
  let tile = tile_of(group_index(group, groups), SIDE, SIDE);
  if (tile.part >= parts() || tile.row >= m()) { return; }
  let x = local % 8u + local / 32u % 2u * 8u;
  let y = local / 8u % 4u + local / 64u * 4u;
  let a = source(local, tile.row, m(), tile.batch * p.stride_a, p.lda, p.trans_a != 0u);
  let b = source(local, tile.col, p.n, tile.batch * p.stride_b, p.ldb, p.trans_b == 0u);
  let range = terms(tile.part);
  let end = range.y;

  var sums: array<array<mat4x4<f32>, COLS>, ROWS>; // the rows of c as columns
  var next_a: array<vec4<f32>, LOADS>;
  var next_b: array<vec4<f32>, LOADS>;
  var i = range.x;
  loop {
    // Only the last terms are checked; the next ones are loaded during the matmul.
    if (i + DEPTH <= end) {
      for (var s = 0u; s < LOADS; s = s + 1u) {
        next_a[s] = four_a(a.at + (i + 8u * s) * a.step);
        next_b[s] = four_b(b.at + (i + 8u * s) * b.step);
      }
    } else if (i < end) {
      for (var s = 0u; s < LOADS; s = s + 1u) {
        let terms_a = a.term + (i + 8u * s);
        let terms_b = b.term + (i + 8u * s);
        next_a[s] = select(vec4<f32>(0.0), four_a(a.at + (clamped(terms_a, end, a) - a.term) * a.step), within(terms_a, end, a));
        next_b[s] = select(vec4<f32>(0.0), four_b(b.at + (clamped(terms_b, end, b) - b.term) * b.step), within(terms_b, end, b));
      }
    }
    if (i > range.x) {
      for (var j = 0u; j < DEPTH; j = j + 1u) {
        var four_rows: array<vec4<f32>, ROWS>;
        var four_cols: array<vec4<f32>, COLS>;
        for (var r = 0u; r < ROWS; r = r + 1u) { four_rows[r] = tile_a[j * PITCH + YS * r + y]; }
        for (var c = 0u; c < COLS; c = c + 1u) { four_cols[c] = tile_b[j * PITCH + 16u * c + x]; }
        for (var r = 0u; r < ROWS; r = r + 1u) {
          let a = four_rows[r];
          for (var c = 0u; c < COLS; c = c + 1u) {
            let b = four_cols[c];
            sums[r][c] = sums[r][c] + mat4x4<f32>(b * a.x, b * a.y, b * a.z, b * a.w);
          }
        }
      }
    }
    if (i >= end) { break; }
    workgroupBarrier();
    for (var s = 0u; s < LOADS; s = s + 1u) {
      store_a(a, s, next_a[s]);
      store_b(b, s, next_b[s]);
    }
    workgroupBarrier();
    i = i + DEPTH;
  }
  for (var r = 0u; r < ROWS; r = r + 1u) {
    for (var j = 0u; j < 4u; j = j + 1u) {
      for (var c = 0u; c < COLS; c = c + 1u) {
        store_sum(sums[r][c][j], tile.row + 4u * (YS * r + y) + j, tile.col + 4u * (16u * c + x), tile.batch, tile.part);
      }
    }
  }
}
