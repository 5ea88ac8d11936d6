@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) local: u32) {
  let i = group_index(group, groups) * 64u + local;
  if (i >= p.n) { return; }
  let factor = load_clip(1u);
  if (factor == 0.0) {
    store_x(i, 0.0);
    return;
  }
  let g = (1.0 - p.momentum) * (load_g(i) * factor);
  let m = p.momentum * load_m(i) + g;
  store_m(i, m);
  store_x(i, p.momentum * m + g);
}
