@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) local: u32) {
  let i = WIDTH * (group_index(group, groups) * 64u + local);
  if (i >= n()) { return; }
  var at = i;
  if (p.cols != 0u) { at = i + i / p.cols * p.cols; }
  let gate = loadv_gate(at);
  var up: Vec;
  if (p.cols == 0u) { up = loadv_up(i); } else { up = loadv_gate(at + p.cols); }
  let s = sigmoid_vec(gate);
  let dy = loadv_dy(i);
  var dgate = dy * up * s * (1.0 + gate * (1.0 - s));
  var dup = dy * gate * s;
  if (p.accumulate_gate != 0u) { dgate = dgate + loadv_dgate(at); }
  storev_dgate(at, dgate);
  if (p.cols != 0u) {
    if (p.accumulate_gate != 0u) { dup = dup + loadv_dgate(at + p.cols); }
    storev_dgate(at + p.cols, dup);
    return;
  }
  if (p.accumulate_up != 0u) { dup = dup + loadv_dup(i); }
  storev_dup(i, dup);
}
