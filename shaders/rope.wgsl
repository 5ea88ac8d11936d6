// One invocation a pair, or WIDTH neighbouring pairs.
@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) local: u32) {
  let i = WIDTH * (group_index(group, groups) * 64u + local);
  let half = p.head_dim / 2u;
  let head = i / half; // of all tokens
  let j = i % half;
  let t = head / p.heads;
  if (t >= tokens()) { return; }
  let angles = u32(load_positions(t)) * p.head_dim + j;
  let c = loadv_table(angles);
  var s = loadv_table(angles + half);
  if (p.inverse != 0u) { s = -s; }
  let at = head * p.head_dim + j;
  let x0 = loadv_x(at);
  let x1 = loadv_x(at + half);
  var y0 = x0 * c - x1 * s;
  var y1 = x1 * c + x0 * s;
  if (p.accumulate != 0u) {
    y0 = y0 + loadv_y(at);
    y1 = y1 + loadv_y(at + half);
  }
  storev_y(at, y0);
  storev_y(at + half, y1);
}
