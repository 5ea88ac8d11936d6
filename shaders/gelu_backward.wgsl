@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) local: u32) {
  let i = WIDTH * (group_index(group, groups) * 64u + local);
  if (i >= n()) { return; }
  let x = loadv_x(i);
  let s = sigmoid_vec(gelu_inner(x));
  var dx = loadv_dy(i) * (s + x * (s * (1.0 - s) * gelu_inner_slope(x)));
  if (p.accumulate != 0u) { dx = dx + loadv_dx(i); }
  storev_dx(i, dx);
}
