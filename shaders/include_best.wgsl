var<workgroup> columns: array<u32, GROUP>;
var<workgroup> ranks: array<u32, GROUP>;

// An integer with the order of the floats: both zeros are equal, and NaN, for which
// WGSL's comparisons are unspecified, is the largest.
fn rank(x: f32) -> u32 {
  let bits = bitcast<u32>(x);
  let size = bits & 0x7fffffffu;
  if (size > 0x7f800000u) { return 0xffffffffu; }
  return select(0x80000000u + size, 0x80000000u - size, bits > size);
}

// The column of the highest of the workgroup's ranks, the first of equal ones; valid in
// the first invocation.
fn group_best(column: u32, best_rank: u32, local: u32) -> u32 {
  columns[local] = column;
  ranks[local] = best_rank;
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

// The result for group_best's column: -1 where its value is NaN or infinite.
fn finite(column: u32) -> u32 {
  return select(0xffffffffu, column, ranks[0] > 0x00800000u && ranks[0] < 0xff800000u);
}
