// Rows 0 to MaxGrid-1 of the grid are those of dy_pos, followed by dx_pos's.
@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) local: u32) {
  let at = position(group_index(group, groups), local, p.cols);
  if (at.row >= 2u * p.max_grid || at.col >= p.cols) { return; }
  let g = at.row % p.max_grid;
  let down = at.row < p.max_grid;
  // The first patch of row or column g, the step to the next, how many there are.
  let first = select(g, g * p.grid_w, down);
  let stride = select(p.grid_w, 1u, down);
  let patches = select(p.grid_h, p.grid_w, down);
  var sum = zero_accumulator();
  if (g < select(p.grid_w, p.grid_h, down)) {
    for (var image = 0u; image < rows(); image = image + p.grid_h * p.grid_w) {
      for (var i = 0u; i < patches; i = i + 1u) {
        let row = image + first + i * stride;
        if (row < rows()) { sum = accumulate(sum, loadv_dy(row * p.cols + at.col)); }
      }
    }
  }
  let to = g * p.cols + at.col;
  if (down) {
    storev_dy_pos(to, reduce(sum) + select(Vec(0.0), loadv_dy_pos(to), p.accumulate != 0u));
  } else {
    storev_dx_pos(to, reduce(sum) + select(Vec(0.0), loadv_dx_pos(to), p.accumulate != 0u));
  }
}
