@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) local: u32) {
  let at = position(group_index(group, groups), local, p.cols);
  if (at.row >= rows() || at.col >= p.cols) { return; }
  let i = at.row * p.cols + at.col;
  let row = u32(load_grid(2u * at.row));
  let column = u32(load_grid(2u * at.row + 1u));
  storev_y(i, loadv_x(i) + (loadv_y_pos(row * p.cols + at.col) + loadv_x_pos(column * p.cols + at.col)));
}
