@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) local: u32) {
  let at = position(group_index(group, groups), local, p.cols);
  if (at.row >= rows() || at.col >= p.cols) { return; }
  let to = at.row * p.cols + at.col;
  let start = at.row * (p.cols + p.channels);
  var dx = load_dy(start + at.col);
  if (p.accumulate_x != 0u) { dx = dx + load_dx(to); }
  store_dx(to, dx);
  if (p.with_patches == 0u) { return; }
  let pixels = p.cols / p.channels;
  var d = load_dy(start + p.cols + at.col / pixels) / f32(pixels);
  if (p.accumulate_patches != 0u) { d = d + load_dpatches(to); }
  store_dpatches(to, d);
}
