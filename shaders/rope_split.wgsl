// One invocation a pair of a head, or WIDTH neighbouring pairs.
@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) local: u32) {
  let i = fused_pair(WIDTH * (group_index(group, groups) * 64u + local));
  let half = p.head_dim / 2u;
  if (i.t >= tokens()) { return; }
  let x = Pair(loadv_x(i.at), loadv_x(i.at + half));
  let row = ring_row(step_u32(p.slot) + i.t) * p.kv_heads; // of k and v
  if (i.head >= p.heads + p.kv_heads) {
    let to = (row + i.head - p.heads - p.kv_heads) * p.head_dim + i.j;
    storev_v(to, x.first);
    storev_v(to + half, x.second);
    return;
  }
  let y = rotate(x, i.t, i.j, 1.0);
  if (i.head >= p.heads) {
    let to = (row + i.head - p.heads) * p.head_dim + i.j;
    storev_k(to, y.first);
    storev_k(to + half, y.second);
    return;
  }
  let to = (i.t * p.heads + i.head) * p.head_dim + i.j;
  storev_q(to, y.first);
  storev_q(to + half, y.second);
}
