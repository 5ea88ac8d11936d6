@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) local: u32) {
  let width = p.cols + p.channels;
  let at = position(group_index(group, groups), local, width);
  if (at.row >= rows() || at.col >= width) { return; }
  let to = at.row * width + at.col;
  if (at.col < p.cols) {
    store_y(to, load_x(at.row * p.cols + at.col));
    return;
  }
  let pixels = p.cols / p.channels;
  let start = at.row * p.cols + (at.col - p.cols) * pixels;
  var sum = 0.0;
  for (var i = 0u; i < pixels; i = i + 1u) { sum = sum + load_patches(start + i); }
  store_y(to, sum / f32(pixels));
}
