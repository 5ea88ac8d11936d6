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
  let at = head * p.head_dim + j;
  var y = rotate(Pair(loadv_x(at), loadv_x(at + half)), t, j, select(1.0, -1.0, p.inverse != 0u));
  if (p.accumulate != 0u) { y = Pair(y.first + loadv_y(at), y.second + loadv_y(at + half)); }
  storev_y(at, y.first);
  storev_y(at + half, y.second);
}
