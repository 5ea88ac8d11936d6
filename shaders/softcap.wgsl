@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) local: u32) {
  let i = group_index(group, groups) * 64u + local;
  if (i >= p.n) { return; }
  store_y(i, p.cap * tanh_f32(load_x(i) / p.cap));
}
