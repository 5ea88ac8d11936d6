@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) local: u32) {
  let i = WIDTH * (group_index(group, groups) * 64u + local);
  if (i >= p.n || load_clip(1u) == 0.0) { return; }
  let lr = p.rate * step_f32(p.slot);
  let w = loadv_w(i) * (1.0 - lr * p.weight_decay) - lr * p.scale * loadv_x(i);
  storev_w(i, w);
  if (p.narrow != 0u) { storev_narrow(i, w); }
}
