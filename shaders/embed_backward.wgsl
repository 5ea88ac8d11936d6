@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) local: u32) {
  let at = position(group_index(group, groups), local, p.cols);
  if (at.row >= segments() || at.col >= p.cols) { return; }
  let row = u32(load_segment_ids(at.row)) - p.first; // wraps round before the first
  if (row >= p.rows) { return; }
  let end = load_starts(at.row + 1u);
  var sum = zero_accumulator();
  for (var i = load_starts(at.row); i < end; i = i + 1) {
    sum = accumulate(sum, load_dy(u32(load_order(u32(i))) * p.cols + at.col));
  }
  let to = row * p.cols + at.col;
  store_dtable(to, load_dtable(to) + p.scale * reduce(sum));
}
