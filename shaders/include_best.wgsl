var<workgroup> columns: array<u32, GROUP>;
var<workgroup> ranks: array<u32, GROUP>;

// An integer that orders values as they are ordered: both zeros are equal, and NaN, of
// which WGSL's comparisons promise nothing, is above all.
fn rank(x: f32) -> u32 {
  let bits = bitcast<u32>(x);
  let size = bits & 0x7fffffffu;
  if (size > 0x7f800000u) { return 0xffffffffu; }
  return select(0x80000000u + size, 0x80000000u - size, bits > size);
}

// The column of the highest of the workgroup's ranks, the first of equals; the first
// invocation alone may use it.
fn group_best(column: u32, most: u32, local: u32) -> u32 {
  columns[local] = column;
  ranks[local] = most;
  for (var n = GROUP / 2u; n > 0u; n = n / 2u) {
    workgroupBarrier();
    if (local < n) {
      let other = local + n;
      if (ranks[other] > ranks[local] || (ranks[other] == ranks[local] && columns[other] < columns[local])) {
        ranks[local] = ranks[other];
        columns[local] = columns[other];
      }
    }
  }
  return columns[0];
}

// What is told of group_best's column: -1 where its value is NaN or infinite.
fn finite(column: u32) -> u32 {
  return select(0xffffffffu, column, ranks[0] > 0x00800000u && ranks[0] < 0xff800000u);
}
