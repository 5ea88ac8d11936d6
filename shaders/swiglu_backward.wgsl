@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) local: u32) {
  let i = group_index(group, groups) * 64u + local;
  if (i >= n()) { return; }
  let gate = load_gate(i);
  let s = sigmoid_f32(gate);
  let dy = load_dy(i);
  var dgate = dy * load_up(i) * s * (1.0 + gate * (1.0 - s));
  var dup = dy * gate * s;
  if (p.accumulate_gate != 0u) { dgate = dgate + load_dgate(i); }
  if (p.accumulate_up != 0u) { dup = dup + load_dup(i); }
  store_dgate(i, dgate);
  store_dup(i, dup);
}
