var<workgroup> group_values: array<f32, GROUP>;

// The sum of v over the workgroup, as a tree.
fn group_sum(v: f32, local: u32) -> f32 {
  group_values[local] = v;
  for (var n = GROUP / 2u; n > 0u; n = n / 2u) {
    workgroupBarrier();
    if (local < n) { group_values[local] = group_values[local] + group_values[local + n]; }
  }
  workgroupBarrier();
  let total = group_values[0];
  workgroupBarrier();
  return total;
}

// The maximum of v over the workgroup.
fn group_max(v: f32, local: u32) -> f32 {
  group_values[local] = v;
  for (var n = GROUP / 2u; n > 0u; n = n / 2u) {
    workgroupBarrier();
    if (local < n) { group_values[local] = max(group_values[local], group_values[local + n]); }
  }
  workgroupBarrier();
  let largest = group_values[0];
  workgroupBarrier();
  return largest;
}
