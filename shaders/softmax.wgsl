@compute @workgroup_size(GROUP)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) local: u32) {
  let row = group_index(group, groups);
  if (row >= rows()) { return; }
  let start = row * p.cols;
  let end = start + p.cols;
  var row_max = -3.4e38;
  for (var i = start + local; i < end; i = i + GROUP) {
    if (load_mask(i) != 0) { row_max = max(row_max, load_x(i)); }
  }
  row_max = group_max(row_max, local);
  var sum = zero_accumulator();
  for (var i = start + local; i < end; i = i + GROUP) {
    if (load_mask(i) != 0) { sum = accumulate(sum, exp_f32(load_x(i) - row_max)); }
  }
  let total = group_sum(reduce(sum), local);
  let inverse = select(1.0 / total, 0.0, total == 0.0);
  for (var i = start + local; i < end; i = i + GROUP) {
    store_y(i, select(0.0, exp_f32(load_x(i) - row_max) * inverse, load_mask(i) != 0));
  }
}
