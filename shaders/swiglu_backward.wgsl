@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) local: u32) {
  let i = WIDTH * (group_index(group, groups) * 64u + local);
  if (i >= n()) { return; }
  let gate = loadv_gate(i);
  let s = glu_sigmoid(gate);
  let dy = loadv_dy(i);
  var dgate = dy * loadv_up(i) * glu_slope(gate, s);
  var dup = dy * gate * s;
  if (p.accumulate_gate != 0u) { dgate = dgate + loadv_dgate(i); }
  if (p.accumulate_up != 0u) { dup = dup + loadv_dup(i); }
  storev_dgate(i, dgate);
  storev_dup(i, dup);
}
