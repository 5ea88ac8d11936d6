@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) local: u32) {
  let features = p.channels * p.side * p.side;
  let at = position(group_index(group, groups), local, features);
  if (at.row >= rows() || at.col >= features) { return; }
  let to = at.row * features + at.col;
  var y = load_x(pixel_of(at.row, at.col));
  if (p.accumulate != 0u) { y = y + load_y(to); }
  store_y(to, y);
}
