@compute @workgroup_size(GROUP)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) local: u32) {
  let row = group_index(group, groups);
  if (row >= rows()) { return; }
  let start = row * p.cols;
  let end = start + p.cols;
  var sum = zero_accumulator();
  for (var i = start + local; i < end; i = i + GROUP) { sum = accumulate(sum, load_y(i) * load_dy(i)); }
  let total = group_sum(reduce(sum), local);
  for (var i = start + local; i < end; i = i + GROUP) {
    var dx = load_y(i) * (load_dy(i) - total);
    if (p.accumulate != 0u) { dx = dx + load_dx(i); }
    store_dx(i, dx);
  }
}
