// One invocation a pair of a head, or WIDTH neighbouring pairs.
@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) local: u32) {
  let i = fused_pair(WIDTH * (group_index(group, groups) * 64u + local));
  let half = p.head_dim / 2u;
  if (i.t >= tokens()) { return; }
  var dx: Pair;
  if (i.head >= p.heads + p.kv_heads) {
    let at = (i.t * p.kv_heads + i.head - p.heads - p.kv_heads) * p.head_dim + i.j;
    dx = Pair(loadv_dv(at), loadv_dv(at + half));
  } else {
    dx = rotate(load_dqk(i.t, i.head, i.j), i.t, i.j, -1.0);
  }
  if (p.accumulate != 0u) { dx = Pair(dx.first + loadv_dx(i.at), dx.second + loadv_dx(i.at + half)); }
  storev_dx(i.at, dx.first);
  storev_dx(i.at + half, dx.second);
}
