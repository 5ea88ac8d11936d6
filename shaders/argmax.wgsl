@compute @workgroup_size(GROUP)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) local: u32) {
  let row = group_index(group, groups);
  if (row >= rows()) { return; }
  let start = row * p.ld;
  var best = min(local, p.cols - 1u);
  var best_rank = rank(load_x(start + best));
  for (var i = local + GROUP; i < p.cols; i = i + GROUP) {
    let x = rank(load_x(start + i));
    if (x > best_rank) { best = i; best_rank = x; }
  }
  let column = finite(group_best(best, best_rank, local));
  if (local == 0u) { store_y(p.base + row, i32(column)); }
}
