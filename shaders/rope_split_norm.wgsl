// A head a workgroup.
@compute @workgroup_size(GROUP)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) local: u32) {
  let row = group_index(group, groups);
  let normed = p.heads + p.kv_heads;
  let heads = normed + p.values * p.kv_heads;
  let head = row % heads;
  let t = row / heads;
  if (t >= tokens()) { return; }
  let start = row * p.head_dim;
  let kv = (step_u32(p.slot) + t) * p.kv_heads; // the token's first head of k and v
  if (head >= normed) {
    let to = (kv + head - normed) * p.head_dim;
    for (var i = WIDTH * local; i < p.head_dim; i = i + WIDTH * GROUP) { storev_v(to + i, loadv_x(start + i)); }
    return;
  }
  var squares = no_sum();
  for (var i = WIDTH * local; i < p.head_dim; i = i + WIDTH * GROUP) {
    let x = loadv_x(start + i);
    squares = add_to(squares, x * x);
  }
  let rstd = 1.0 / sqrt(group_sum(sum_of(value_of(squares)), local) / f32(p.head_dim) + p.eps);
  if (local == 0u) { store_rstd(t * normed + head, rstd); }
  let half = p.head_dim / 2u;
  for (var i = WIDTH * local; i < half; i = i + WIDTH * GROUP) {
    var x0 = loadv_x(start + i) * rstd;
    var x1 = loadv_x(start + half + i) * rstd;
    let angles = u32(load_positions(t)) * p.head_dim + i;
    let c = loadv_table(angles);
    let s = loadv_table(angles + half);
    if (head < p.heads) {
      x0 = x0 * loadv_wq(i);
      x1 = x1 * loadv_wq(half + i);
      let to = (t * p.heads + head) * p.head_dim + i;
      storev_q(to, x0 * c - x1 * s);
      storev_q(to + half, x1 * c + x0 * s);
    } else {
      x0 = x0 * loadv_wk(i);
      x1 = x1 * loadv_wk(half + i);
      let to = (kv + head - p.heads) * p.head_dim + i;
      storev_k(to, x0 * c - x1 * s);
      storev_k(to + half, x1 * c + x0 * s);
    }
  }
}
