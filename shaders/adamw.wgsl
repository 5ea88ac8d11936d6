@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) local: u32) {
  let i = WIDTH * (group_index(group, groups) * 64u + local);
  let factor = load_clip(1u);
  if (i >= p.n || factor == 0.0) { return; }
  let lr = step_f32(p.slot);
  let g = loadv_g(i) * factor;
  let m = p.beta1 * loadv_m(i) + (1.0 - p.beta1) * g;
  let v = p.beta2 * loadv_v(i) + (1.0 - p.beta2) * g * g;
  storev_m(i, m);
  storev_v(i, v);
  let update = m * step_f32(p.slot + 1u) / (sqrt(v) * step_f32(p.slot + 2u) + p.eps);
  let w = loadv_w(i) * (1.0 - lr * p.weight_decay) - lr * update;
  storev_w(i, w);
  if (p.narrow != 0u) { storev_narrow(i, w); }
}
