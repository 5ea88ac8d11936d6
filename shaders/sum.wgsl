fn term(i: u32) -> f32 {
  let x = load_x(i);
  return select(x, x * x, SQUARES == 1u);
}

// Each workgroup adds up 16384 elements.
@compute @workgroup_size(GROUP)
fn chunks(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
          @builtin(local_invocation_index) local: u32) {
  let chunk = group_index(group, groups);
  if (chunk >= (p.n_max + 16383u) / 16384u) { return; }
  let end = min(chunk * 16384u + 16384u, n());
  var sum = zero_accumulator();
  for (var i = chunk * 16384u + local; i < end; i = i + GROUP) { sum = accumulate(sum, term(i)); }
  let total = group_sum(reduce(sum), local);
  if (local == 0u) { store_scratch(chunk, total); }
}

@compute @workgroup_size(GROUP)
fn main(@builtin(local_invocation_index) local: u32) {
  var sum = zero_accumulator();
  for (var i = local; i < (n() + 16383u) / 16384u; i = i + GROUP) { sum = accumulate(sum, load_scratch(i)); }
  var y = group_sum(reduce(sum), local);
  if (local == 0u) {
    if (p.accumulate != 0u) { y = y + load_y(0u); }
    store_y(0u, y);
  }
}
