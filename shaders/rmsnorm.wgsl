fn weight(i: u32) -> Vec {
  if (p.weightless != 0u) { return Vec(1.0); }
  return loadv_w(i);
}

@compute @workgroup_size(GROUP)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) local: u32) {
  let row = group_index(group, groups);
  if (row >= rows()) { return; }
  let start = row * p.cols;
  var squares = zero_accumulator();
  for (var i = WIDTH * local; i < p.cols; i = i + WIDTH * GROUP) {
    let x = loadv_x(start + i);
    squares = accumulate(squares, x * x);
  }
  let rstd = 1.0 / sqrt(group_sum(lane_sum(reduce(squares)), local) / f32(p.cols) + p.eps);
  if (local == 0u) { store_rstd(row, rstd); }
  for (var i = WIDTH * local; i < p.cols; i = i + WIDTH * GROUP) {
    var y = loadv_x(start + i) * rstd * weight(i);
    if (p.residual != 0u) { y = y + loadv_residual(start + i); }
    storev_y(start + i, y);
  }
}
