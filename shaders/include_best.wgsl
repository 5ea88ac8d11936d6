var<workgroup> columns: array<u32, GROUP>;
var<workgroup> values: array<f32, GROUP>;

// The column of the largest of the workgroup's values, the first of equals; the first
// invocation alone may use it.
fn group_best(column: u32, value: f32, local: u32) -> u32 {
  columns[local] = column;
  values[local] = value;
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
  return columns[0];
}
