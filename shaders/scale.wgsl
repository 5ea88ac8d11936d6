@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) local: u32) {
  let i = group_index(group, groups) * 64u + local;
  if (i >= n()) { return; }
  var y = load_x(i) * load_s(0u);
  if (p.accumulate != 0u) { y = y + load_y(i); }
  store_y(i, y);
}
