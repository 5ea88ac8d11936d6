// One invocation a pair of a head, or WIDTH neighbouring pairs.
@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) local: u32) {
  let i = WIDTH * (group_index(group, groups) * 64u + local);
  let half = p.head_dim / 2u;
  let j = i % half;
  let heads = p.heads + 2u * p.kv_heads;
  let head = i / half % heads;
  let t = i / half / heads;
  if (t >= tokens()) { return; }
  var dx0: Vec;
  var dx1: Vec;
  if (head >= p.heads + p.kv_heads) {
    let at = (t * p.kv_heads + head - p.heads - p.kv_heads) * p.head_dim + j;
    dx0 = loadv_dv(at);
    dx1 = loadv_dv(at + half);
  } else {
    var dy0: Vec;
    var dy1: Vec;
    if (head >= p.heads) {
      let at = (t * p.kv_heads + head - p.heads) * p.head_dim + j;
      dy0 = loadv_dk(at);
      dy1 = loadv_dk(at + half);
    } else {
      let at = (t * p.heads + head) * p.head_dim + j;
      dy0 = loadv_dq(at);
      dy1 = loadv_dq(at + half);
    }
    let angles = u32(load_positions(t)) * p.head_dim + j;
    let c = loadv_table(angles);
    let s = loadv_table(angles + half);
    dx0 = dy0 * c + dy1 * s;
    dx1 = dy1 * c - dy0 * s;
  }
  let to = i / half * p.head_dim + j;
  if (p.accumulate != 0u) {
    dx0 = dx0 + loadv_dx(to);
    dx1 = dx1 + loadv_dx(to + half);
  }
  storev_dx(to, dx0);
  storev_dx(to + half, dx1);
}
