@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) local: u32) {
  let i = WIDTH * (group_index(group, groups) * 64u + local);
  if (i >= n()) { return; }
  var gate: Vec;
  var up: Vec;
  if (p.cols == 0u) {
    gate = loadv_gate(i);
    up = loadv_up(i);
  } else {
    let at = i + i / p.cols * p.cols;
    gate = loadv_gate(at);
    up = loadv_gate(at + p.cols);
  }
  storev_y(i, gate * sigmoid_vec(gate) * up);
}
