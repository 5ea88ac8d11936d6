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
  let at = i / half * p.head_dim + j;
  let x0 = loadv_x(at);
  let x1 = loadv_x(at + half);
  let row = (step_u32(p.slot) + t) * p.kv_heads; // of k and v
  if (head >= p.heads + p.kv_heads) {
    let to = (row + head - p.heads - p.kv_heads) * p.head_dim + j;
    storev_v(to, x0);
    storev_v(to + half, x1);
    return;
  }
  let angles = u32(load_positions(t)) * p.head_dim + j;
  let c = loadv_table(angles);
  let s = loadv_table(angles + half);
  let y0 = x0 * c - x1 * s;
  let y1 = x1 * c + x0 * s;
  if (head >= p.heads) {
    let to = (row + head - p.heads) * p.head_dim + j;
    storev_k(to, y0);
    storev_k(to + half, y1);
    return;
  }
  let to = (t * p.heads + head) * p.head_dim + j;
  storev_q(to, y0);
  storev_q(to + half, y1);
}
