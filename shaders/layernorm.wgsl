@compute @workgroup_size(GROUP)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) local: u32) {
  let row = group_index(group, groups);
  if (row >= rows()) { return; }
  let start = row * p.cols;
  var sum = zero_accumulator();
  for (var i = WIDTH * local; i < p.cols; i = i + WIDTH * GROUP) { sum = accumulate(sum, loadv_x(start + i)); }
  let mean = group_sum(lane_sum(reduce(sum)), local) / f32(p.cols);
  var squares = zero_accumulator();
  for (var i = WIDTH * local; i < p.cols; i = i + WIDTH * GROUP) {
    let d = loadv_x(start + i) - mean;
    squares = accumulate(squares, d * d);
  }
  let rstd = 1.0 / sqrt(group_sum(lane_sum(reduce(squares)), local) / f32(p.cols) + p.eps);
  if (local == 0u) {
    store_mean(row, mean);
    store_rstd(row, rstd);
  }
  for (var i = WIDTH * local; i < p.cols; i = i + WIDTH * GROUP) {
    storev_y(start + i, (loadv_x(start + i) - mean) * rstd * loadv_w(i) + loadv_b(i));
  }
}
