var<workgroup> columns: array<u32, GROUP>;
var<workgroup> values: array<f32, GROUP>;

@compute @workgroup_size(GROUP)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) local: u32) {
  let row = group_index(group, groups);
  if (row >= rows()) { return; }
  let start = row * p.ld;
  var best = min(local, p.cols - 1u);
  for (var i = local; i < p.cols; i = i + GROUP) {
    if (load_x(start + i) > load_x(start + best)) { best = i; }
  }
  columns[local] = best;
  values[local] = load_x(start + best);
  for (var n = GROUP / 2u; n > 0u; n = n / 2u) {
    workgroupBarrier();
    if (local < n) {
      let other = local + n;
      if (values[other] > values[local] || (values[other] == values[local] && columns[other] < columns[local])) {
        values[local] = values[other];
        columns[local] = columns[other];
      }
    }
  }
  if (local == 0u) { store_y(p.base + row, i32(columns[0])); }
}
