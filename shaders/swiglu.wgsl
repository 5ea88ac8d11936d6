@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) local: u32) {
  let i = WIDTH * (group_index(group, groups) * 64u + local);
  if (i >= n()) { return; }
  let gate = loadv_gate(i);
  storev_y(i, gate * glu_sigmoid(gate) * loadv_up(i));
}
