@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) local: u32) {
  let at = position(group_index(group, groups), local, p.cols);
  if (at.row >= rows() || at.col >= p.cols) { return; }
  let i = 2u * at.row * p.cols + at.col;
  let gate = loadv_x(i);
  let s = glu_sigmoid(gate);
  let dy = loadv_dy(at.row * p.cols + at.col);
  var dgate = dy * loadv_x(i + p.cols) * glu_slope(gate, s);
  var dup = dy * gate * s;
  if (p.accumulate != 0u) {
    dgate = dgate + loadv_dx(i);
    dup = dup + loadv_dx(i + p.cols);
  }
  storev_dx(i, dgate);
  storev_dx(i + p.cols, dup);
}
