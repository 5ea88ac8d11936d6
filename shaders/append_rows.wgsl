@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) local: u32) {
  let i = WIDTH * (group_index(group, groups) * 64u + local);
  if (i >= rows() * p.cols) { return; }
  storev_y(ring_row(step_u32(p.slot) + i / p.cols) * p.cols + i % p.cols, loadv_x(i));
}
