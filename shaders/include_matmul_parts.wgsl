// Split-K: workgroups write sums to scratch, in matrices of whole tiles of 128×128
// [p.parts][p.batch], and a second pass adds up the parts in order.

// Terms of a part: a multiple of every tile's depth.
fn part_depth() -> u32 { return ((k() + p.parts - 1u) / p.parts + 63u) / 64u * 64u; }
fn first_term(part: u32) -> u32 { return part * part_depth(); }
// Number of parts that have terms.
fn parts() -> u32 { return (k() + max(part_depth(), 1u) - 1u) / max(part_depth(), 1u); }
// Where a matrix of sums is in scratch, and its pitch.
fn sums_at(part: u32, batch: u32) -> vec2<u32> {
  let lines = (p.m_max + 127u) / 128u * 128u;
  let pitch = (p.n + 127u) / 128u * 128u;
  return vec2<u32>((part * p.batch + batch) * lines * pitch, pitch);
}
fn results_at(tile: Tile) -> vec2<u32> { return sums_at(tile.part, tile.batch); }
fn store_sum(sum: vec4<f32>, to: vec2<u32>, row: u32, col: u32) { store4_scratch(to.x + row * to.y + col, 4u, sum); }

// Four columns of a row of c.
@compute @workgroup_size(64)
fn add_parts(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
             @builtin(local_invocation_index) local: u32) {
  let across = (p.n + 255u) / 256u;
  let index = group_index(group, groups);
  let line = index / across;
  let col = index % across * 256u + 4u * local;
  let batch = line / p.m_max;
  let row = line % p.m_max;
  if (batch >= p.batch || row >= m() || col >= p.n) { return; }
  var sum = vec4<f32>(0.0);
  for (var part = 0u; part < parts(); part = part + 1u) {
    let sums = sums_at(part, batch);
    sum = sum + load4_scratch(sums.x + row * sums.y + col, 4u);
  }
  finish(sum, batch * p.stride_c + row * p.ldc + col, col);
}
