@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) local: u32) {
  let at = position(group_index(group, groups), local, p.cols);
  if (at.row >= rows() || at.col >= p.cols) { return; }
  let i = 2u * at.row * p.cols + at.col;
  let gate = loadv_x(i);
  storev_y(at.row * p.cols + at.col, gate * glu_sigmoid(gate) * loadv_x(i + p.cols));
}
