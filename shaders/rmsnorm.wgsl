@compute @workgroup_size(GROUP)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) local: u32) {
  let row = group_index(group, groups);
  if (row >= rows()) { return; }
  let start = row * p.cols;
  var squares = Sum(0.0, 0u, 0.0);
  for (var i = local; i < p.cols; i = i + GROUP) {
    let x = load_x(start + i);
    squares = add_to(squares, x * x);
  }
  let rstd = 1.0 / sqrt(group_sum(value_of(squares), local) / f32(p.cols) + p.eps);
  if (local == 0u) { store_rstd(row, rstd); }
  for (var i = local; i < p.cols; i = i + GROUP) { store_y(start + i, load_x(start + i) * rstd * load_w(i)); }
}
