// As matmul, with vec4 loads: each workgroup of 8 invocations computes ROWS blocks of 4
// rows by 8·COLS blocks of 4 columns of c; the blocks of an invocation are 32 columns
// apart.
@compute @workgroup_size(8)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) local: u32) {
  let tile = group_index(group, groups);
  let across = (p.n + 32u * COLS - 1u) / (32u * COLS);
  let down = (p.m_max + 4u * ROWS - 1u) / (4u * ROWS);
  let batch = tile / (across * down);
  let row = tile / across % down * 4u * ROWS;
  let col = tile % across * 32u * COLS + 4u * local;
  if (batch >= p.batch || row >= m()) { return; }
  var at_a: array<Blocks, ROWS>;
  var at_b: array<Blocks, COLS>;
  for (var r = 0u; r < ROWS; r = r + 1u) { at_a[r] = rows_at(row + 4u * r, batch); }
  for (var c = 0u; c < COLS; c = c + 1u) { at_b[c] = cols_at(col + 32u * c, batch); }

  var sums: array<array<mat4x4<f32>, COLS>, ROWS>;
  let depth = k();
  for (var i = 0u; i < depth / 4u; i = i + 1u) {
    var b: array<mat4x4<f32>, COLS>;
    for (var c = 0u; c < COLS; c = c + 1u) { b[c] = block_b(at_b[c], i); }
    for (var r = 0u; r < ROWS; r = r + 1u) {
      let a = block_a(at_a[r], i);
      for (var c = 0u; c < COLS; c = c + 1u) { sums[r][c] = sums[r][c] + b[c] * a; }
    }
  }
  for (var i = depth / 4u * 4u; i < depth; i = i + 1u) {
    for (var r = 0u; r < ROWS; r = r + 1u) {
      let a = term_a(row + 4u * r, batch, i);
      for (var c = 0u; c < COLS; c = c + 1u) { sums[r][c] = sums[r][c] + outer(term_b(col + 32u * c, batch, i), a); }
    }
  }
  // A copy, so that loops need not be unrolled: the stores are long.
  var results: array<f32, RESULTS>;
  for (var r = 0u; r < ROWS; r = r + 1u) {
    for (var c = 0u; c < COLS; c = c + 1u) {
      for (var i = 0u; i < 4u; i = i + 1u) {
        for (var j = 0u; j < 4u; j = j + 1u) { results[((4u * r + i) * COLS + c) * 4u + j] = sums[r][c][i][j]; }
      }
    }
  }
  for (var i = 0u; i < 4u * ROWS; i = i + 1u) {
    for (var j = 0u; j < 4u * COLS; j = j + WIDTH) {
      let at = i * 4u * COLS + j;
      finish(vec_of(results[at], results[at + WIDTH - 1u]), row + i, col + j / 4u * 32u + j % 4u, batch);
    }
  }
}
