// Each workgroup adds up 64 rows of 64 columns.
@compute @workgroup_size(64)
fn chunks(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
          @builtin(local_invocation_index) local: u32) {
  let at = position(group_index(group, groups), local, p.cols);
  if (at.row >= (p.rows_max + 63u) / 64u || at.col >= p.cols) { return; }
  let end = min(at.row * 64u + 64u, rows());
  var sum = Vec(0.0);
  for (var row = at.row * 64u; row < end; row = row + 1u) { sum = sum + loadv_x(row * p.cols + at.col); }
  storev_scratch(at.row * p.cols + at.col, sum);
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) local: u32) {
  let col = WIDTH * (group_index(group, groups) * 64u + local);
  if (col >= p.cols) { return; }
  var sum = zero_accumulator();
  for (var i = 0u; i < (rows() + 63u) / 64u; i = i + 1u) { sum = accumulate(sum, loadv_scratch(i * p.cols + col)); }
  var y = reduce(sum);
  if (p.accumulate != 0u) { y = y + loadv_y(col); }
  storev_y(col, y);
}
