// One workgroup per head.
@compute @workgroup_size(GROUP)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) local: u32) {
  let row = group_index(group, groups);
  let normed = p.heads + p.kv_heads;
  let heads = normed + min(p.values, 1u) * p.kv_heads;
  let head = row % heads;
  let t = row / heads;
  if (t >= tokens()) { return; }
  let start = row * p.head_dim;
  let kv = ring_row(step_u32(p.slot) + t) * p.kv_heads; // the token's first head of k and v
  let is_value = head >= normed;
  let to_value = (kv + head - normed) * p.head_dim;
  if (is_value && p.values == 1u) {
    for (var i = WIDTH * local; i < p.head_dim; i = i + WIDTH * GROUP) { storev_v(to_value + i, loadv_x(start + i)); }
    return;
  }
  var squares = zero_accumulator();
  for (var i = WIDTH * local; i < p.head_dim; i = i + WIDTH * GROUP) {
    let x = loadv_x(start + i);
    squares = accumulate(squares, x * x);
  }
  let rstd = 1.0 / sqrt(group_sum(lane_sum(reduce(squares)), local) / f32(p.head_dim) + p.eps);
  if (is_value) {
    for (var i = WIDTH * local; i < p.head_dim; i = i + WIDTH * GROUP) { storev_v(to_value + i, loadv_x(start + i) * rstd); }
    return;
  }
  if (local == 0u) { store_rstd(t * normed + head, rstd); }
  let half = p.head_dim / 2u;
  for (var i = WIDTH * local; i < half; i = i + WIDTH * GROUP) {
    let x = Pair(loadv_x(start + i) * rstd, loadv_x(start + half + i) * rstd);
    if (head < p.heads) {
      let y = rotate(Pair(x.first * loadv_wq(i), x.second * loadv_wq(half + i)), t, i, 1.0);
      let to = (t * p.heads + head) * p.head_dim + i;
      storev_q(to, y.first);
      storev_q(to + half, y.second);
    } else {
      let y = rotate(Pair(x.first * loadv_wk(i), x.second * loadv_wk(half + i)), t, i, 1.0);
      let to = (kv + head - p.heads) * p.head_dim + i;
      storev_k(to, y.first);
      storev_k(to + half, y.second);
    }
  }
}
