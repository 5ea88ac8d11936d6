@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) local: u32) {
  let at = position(group_index(group, groups), local, p.cols);
  if (at.row >= tokens() || at.col >= p.cols) { return; }
  let row = u32(load_ids(at.row)) - p.first; // wraps round before the first
  if (row >= p.rows) { return; }
  let slot = load_slots(at.row);
  var y = Vec(0.0);
  if (slot >= 0) {
    y = loadv_features(u32(slot) * p.cols + at.col);
  } else {
    y = p.scale * loadv_table(row * p.cols + at.col);
  }
  storev_y(at.row * p.cols + at.col, y);
}
