// For software devices with subgroups of 8: each workgroup computes 32 rows and columns
// of c, an invocation all the rows of 4 columns. It loads 4 columns of op(b) and an
// eighth of the rows of op(a), which it shuffles to the others.
@compute @workgroup_size(GROUP)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) local: u32) {
  let tile = group_index(group, groups);
  let across = (p.n + 31u) / 32u;
  let down = (p.m_max + 31u) / 32u;
  let batch = tile / (across * down);
  let row = tile / across % down * 32u;
  let col = tile % across * 32u + 4u * local;
  if (batch >= p.batch || row >= m()) { return; }
  let at_a = rows_at(row + 4u * local, batch);
  let at_b = cols_at(col, batch);

  var sums: array<mat4x4<f32>, 8>; // the rows of c as columns
  let depth = k();
  for (var i = 0u; i < depth / 4u; i = i + 1u) {
    let a = block_a(at_a, i);
    let b = block_b(at_b, i);
    for (var r = 0u; r < 8u; r = r + 1u) { sums[r] = sums[r] + b * from_lane(a, r); }
  }
  for (var i = depth / 4u * 4u; i < depth; i = i + 1u) {
    let a = term_a(row + 4u * local, batch, i);
    let b = term_b(col, batch, i);
    for (var r = 0u; r < 8u; r = r + 1u) { sums[r] = sums[r] + outer(b, subgroupShuffle(a, r)); }
  }
  // A copy, so that loops need not be unrolled: the stores are long.
  var results: array<f32, 128>;
  for (var r = 0u; r < 8u; r = r + 1u) {
    for (var i = 0u; i < 4u; i = i + 1u) {
      for (var j = 0u; j < 4u; j = j + 1u) { results[(4u * r + i) * 4u + j] = sums[r][i][j]; }
    }
  }
  for (var i = 0u; i < 32u; i = i + 1u) {
    for (var j = 0u; j < 4u; j = j + WIDTH) { finish(vec_of(results[i * 4u + j], results[i * 4u + j + WIDTH - 1u]), row + i, col + j, batch); }
  }
}
