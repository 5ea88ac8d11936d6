// With one row of many columns a single workgroup would leave a GPU idle: a first pass
// finds the argmax of every CHUNK columns, a second that of the chunks.
fn chunks() -> u32 { return (p.cols + CHUNK - 1u) / CHUNK; }

@compute @workgroup_size(GROUP)
fn chunk(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
         @builtin(local_invocation_index) local: u32) {
  let index = group_index(group, groups);
  let row = index / chunks();
  if (row >= rows()) { return; }
  let start = row * p.ld;
  let first = index % chunks() * CHUNK;
  let end = min(first + CHUNK, p.cols);
  var best = min(first + local, end - 1u);
  var best_rank = rank(load_x(start + best));
  for (var i = first + local + GROUP; i < end; i = i + GROUP) {
    let x = rank(load_x(start + i));
    if (x > best_rank) { best = i; best_rank = x; }
  }
  let column = group_best(best, best_rank, local);
  if (local == 0u) { store_scratch(index, f32(column)); } // exact: see the variant's limit
}

@compute @workgroup_size(GROUP)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) local: u32) {
  let row = group_index(group, groups);
  if (row >= rows()) { return; }
  let found = row * chunks();
  var best = u32(load_scratch(found + min(local, chunks() - 1u)));
  var best_rank = rank(load_x(row * p.ld + best));
  for (var i = local + GROUP; i < chunks(); i = i + GROUP) {
    let column = u32(load_scratch(found + i));
    let x = rank(load_x(row * p.ld + column));
    if (x > best_rank) { best = column; best_rank = x; }
  }
  let column = finite(group_best(best, best_rank, local));
  if (local == 0u) { store_y(p.base + row, i32(column)); }
}
