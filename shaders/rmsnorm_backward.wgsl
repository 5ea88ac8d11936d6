fn weight(i: u32) -> Vec {
  if (p.weightless != 0u) { return Vec(1.0); }
  return loadv_w(i);
}

// dx, one workgroup per row.
@compute @workgroup_size(GROUP)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) local: u32) {
  let row = group_index(group, groups);
  if (row >= rows()) { return; }
  let start = row * p.cols;
  let rstd = load_rstd(row);
  var dot = zero_accumulator(); // of g·x̂
  for (var i = WIDTH * local; i < p.cols; i = i + WIDTH * GROUP) {
    dot = accumulate(dot, loadv_dy(start + i) * weight(i) * (loadv_x(start + i) * rstd));
  }
  let mean_gx = group_sum(lane_sum(reduce(dot)), local) / f32(p.cols);
  for (var i = WIDTH * local; i < p.cols; i = i + WIDTH * GROUP) {
    var dx = rstd * (loadv_dy(start + i) * weight(i) - loadv_x(start + i) * rstd * mean_gx);
    if (p.accumulate_x != 0u) { dx = dx + loadv_dx(start + i); }
    storev_dx(start + i, dx);
    if (p.narrow != 0u) { storev_narrow(start + i, dx); }
  }
}

// dw of 64 rows, one column per invocation, into scratch [chunks,Cols].
@compute @workgroup_size(64)
fn chunks(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
          @builtin(local_invocation_index) local: u32) {
  let at = position(group_index(group, groups), local, p.cols);
  if (at.row >= (p.rows_max + 63u) / 64u || at.col >= p.cols || p.with_w == 0u) { return; }
  let end = min(at.row * 64u + 64u, rows());
  var dw = Vec(0.0);
  for (var row = at.row * 64u; row < end; row = row + 1u) {
    let i = row * p.cols + at.col;
    dw = dw + loadv_dy(i) * (loadv_x(i) * load_rstd(row));
  }
  storev_scratch(at.row * p.cols + at.col, dw);
}

// The sum of the chunks.
@compute @workgroup_size(64)
fn total(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
         @builtin(local_invocation_index) local: u32) {
  let col = WIDTH * (group_index(group, groups) * 64u + local);
  if (col >= p.cols || p.with_w == 0u) { return; }
  var dw = zero_accumulator();
  for (var i = 0u; i < (rows() + 63u) / 64u; i = i + 1u) { dw = accumulate(dw, loadv_scratch(i * p.cols + col)); }
  storev_dw(col, reduce(dw) + select(Vec(0.0), loadv_dw(col), p.accumulate_w != 0u));
}
