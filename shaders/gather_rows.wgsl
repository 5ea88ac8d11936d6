@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) local: u32) {
  let at = position(group_index(group, groups), local, p.cols);
  if (at.row >= rows() || at.col >= p.cols) { return; }
  let to = at.row * p.cols + at.col;
  var y = loadv_x(u32(load_index(p.base + at.row)) * p.cols + at.col);
  if (p.accumulate != 0u) { y = y + loadv_y(to); }
  storev_y(to, y);
}
