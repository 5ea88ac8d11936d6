// Rows 0 to MaxGrid-1 of the grid are those of dy_pos, followed by dx_pos's.
@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) local: u32) {
  let at = position(group_index(group, groups), local, p.cols);
  if (at.row >= 2u * p.max_grid || at.col >= p.cols) { return; }
  let end = load_starts(at.row + 1u);
  var sum = zero_accumulator();
  for (var i = load_starts(at.row); i < end; i = i + 1) {
    sum = accumulate(sum, loadv_dy(u32(load_order(u32(i))) * p.cols + at.col));
  }
  let to = at.row % p.max_grid * p.cols + at.col;
  if (at.row < p.max_grid) {
    storev_dy_pos(to, reduce(sum) + select(Vec(0.0), loadv_dy_pos(to), p.accumulate != 0u));
  } else {
    storev_dx_pos(to, reduce(sum) + select(Vec(0.0), loadv_dx_pos(to), p.accumulate != 0u));
  }
}
