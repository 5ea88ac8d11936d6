// The gradient of pair i of a normed head, before its rotation.
fn unrotated(t: u32, head: u32, i: u32) -> Pair { return rotate(load_dqk(t, head, i), t, i, -1.0); }

// unrotated, times the norm's weight.
fn scaled(t: u32, head: u32, i: u32) -> Pair {
  let half = p.head_dim / 2u;
  let g = unrotated(t, head, i);
  if (head < p.heads) { return Pair(g.first * loadv_wq(i), g.second * loadv_wq(half + i)); }
  return Pair(g.first * loadv_wk(i), g.second * loadv_wk(half + i));
}

// dx, one workgroup per head.
@compute @workgroup_size(GROUP)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) local: u32) {
  let row = group_index(group, groups);
  let heads = p.heads + p.kv_heads;
  let head = row % heads;
  let t = row / heads;
  if (t >= tokens()) { return; }
  let start = row * p.head_dim;
  let half = p.head_dim / 2u;
  let rstd = load_rstd(row);
  var dot = zero_accumulator(); // of g·x̂
  for (var i = WIDTH * local; i < half; i = i + WIDTH * GROUP) {
    let g = scaled(t, head, i);
    dot = accumulate(dot, g.first * (loadv_x(start + i) * rstd) + g.second * (loadv_x(start + half + i) * rstd));
  }
  let mean_gx = group_sum(lane_sum(reduce(dot)), local) / f32(p.head_dim);
  for (var i = WIDTH * local; i < half; i = i + WIDTH * GROUP) {
    let g = scaled(t, head, i);
    var dx0 = rstd * (g.first - loadv_x(start + i) * rstd * mean_gx);
    var dx1 = rstd * (g.second - loadv_x(start + half + i) * rstd * mean_gx);
    if (p.accumulate_x != 0u) {
      dx0 = dx0 + loadv_dx(start + i);
      dx1 = dx1 + loadv_dx(start + half + i);
    }
    storev_dx(start + i, dx0);
    storev_dx(start + half + i, dx1);
  }
}

// dwq and dwk of 16 tokens, one pair of columns per invocation, into scratch
// [2,chunks,HeadDim].
@compute @workgroup_size(64)
fn chunks(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
          @builtin(local_invocation_index) local: u32) {
  let half = p.head_dim / 2u;
  let chunk_count = (p.tokens_max + 15u) / 16u;
  let at = position(group_index(group, groups), local, half);
  if (at.row >= 2u * chunk_count || at.col >= half || p.with_w == 0u) { return; }
  var head = 0u;
  var end = p.heads;
  if (at.row >= chunk_count) {
    head = p.heads;
    end = p.heads + p.kv_heads;
  }
  let token = at.row % chunk_count * 16u;
  var dw0 = zero_accumulator();
  var dw1 = zero_accumulator();
  for (; head < end; head = head + 1u) {
    for (var t = token; t < min(token + 16u, tokens()); t = t + 1u) {
      let row = t * (p.heads + p.kv_heads) + head;
      let x = row * p.head_dim + at.col;
      let g = unrotated(t, head, at.col);
      dw0 = accumulate(dw0, g.first * (loadv_x(x) * load_rstd(row)));
      dw1 = accumulate(dw1, g.second * (loadv_x(x + half) * load_rstd(row)));
    }
  }
  storev_scratch(at.row * p.head_dim + at.col, reduce(dw0));
  storev_scratch(at.row * p.head_dim + half + at.col, reduce(dw1));
}

// The sums of the chunks.
@compute @workgroup_size(64)
fn total(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
         @builtin(local_invocation_index) local: u32) {
  let col = WIDTH * (group_index(group, groups) * 64u + local); // of both weights
  if (col >= 2u * p.head_dim || p.with_w == 0u) { return; }
  let weight = col / p.head_dim;
  let i = col % p.head_dim;
  let first = weight * ((p.tokens_max + 15u) / 16u);
  var dw = zero_accumulator();
  for (var chunk = 0u; chunk < (tokens() + 15u) / 16u; chunk = chunk + 1u) {
    dw = accumulate(dw, loadv_scratch((first + chunk) * p.head_dim + i));
  }
  if (weight == 0u) {
    storev_dwq(i, reduce(dw) + select(Vec(0.0), loadv_dwq(i), p.accumulate_w != 0u));
  } else {
    storev_dwk(i, reduce(dw) + select(Vec(0.0), loadv_dwk(i), p.accumulate_w != 0u));
  }
}
