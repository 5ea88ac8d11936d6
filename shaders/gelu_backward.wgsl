@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) local: u32) {
  let i = group_index(group, groups) * 64u + local;
  if (i >= n()) { return; }
  let x = load_x(i);
  let s = sigmoid_f32(gelu_inner(x));
  var dx = load_dy(i) * (s + x * (s * (1.0 - s) * gelu_inner_slope(x)));
  if (p.accumulate != 0u) { dx = dx + load_dx(i); }
  store_dx(i, dx);
}
