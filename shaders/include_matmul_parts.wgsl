// Split-K: workgroups write sums to scratch, in matrices of whole tiles of 128×128
// [p.parts][p.batch], and a second pass adds up the parts in order.

// Terms of a part: a multiple of every tile's depth.
fn part_depth() -> u32 { return ((k() + p.parts - 1u) / p.parts + 63u) / 64u * 64u; }
// Number of parts that have terms.
fn parts() -> u32 { return (k() + max(part_depth(), 1u) - 1u) / max(part_depth(), 1u); }
// The first term of a part and its end.
fn terms(part: u32) -> vec2<u32> {
  return vec2<u32>(part * part_depth(), min((part + 1u) * part_depth(), k()));
}
fn scratch_at(part: u32, batch: u32, row: u32, col: u32) -> u32 {
  let lines = (p.m_max + 127u) / 128u * 128u;
  let pitch = (p.n + 127u) / 128u * 128u;
  return ((part * p.batch + batch) * lines + row) * pitch + col;
}
fn store_sum(sum: Vec, row: u32, col: u32, batch: u32, part: u32) { storev_scratch(scratch_at(part, batch, row, col), sum); }

@compute @workgroup_size(64)
fn add_parts(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
             @builtin(local_invocation_index) local: u32) {
  let at = position(group_index(group, groups), local, p.n);
  let batch = at.row / p.m_max;
  let row = at.row % p.m_max;
  if (batch >= p.batch || row >= m() || at.col >= p.n) { return; }
  var sum = Vec(0.0);
  for (var part = 0u; part < parts(); part = part + 1u) { sum = sum + loadv_scratch(scratch_at(part, batch, row, at.col)); }
  finish(sum, row, at.col, batch);
}
