// For GPUs: a workgroup computes SIDE rows and columns of c, DEPTH terms at a time in
// shared memory. An invocation has 2 by COLS blocks of 4×4 results. Of 32 invocations,
// 4 rows of 8 are neighbours, so that they read few different blocks of shared memory.
// The loops over blocks and terms are unrolled in the text (see DeclVariant.Unroll):
// what a variable indexes, a compiler puts into memory.

var<workgroup> tile_a: array<vec4<f32>, LINES>; // [DEPTH][PITCH], each 4 rows of op(a)
var<workgroup> tile_b: array<vec4<f32>, LINES>; // [DEPTH][PITCH], each 4 columns of op(b)

// An invocation's part of the terms from i on. Only the last ones are checked; after
// them there is nothing to load.
struct Loaded { a: array<vec4<f32>, LOADS>, b: array<vec4<f32>, LOADS> }
fn loads(a: Source, b: Source, i: u32, end: u32) -> Loaded {
  var x: Loaded;
  if (i + DEPTH <= end) {
    for (var s = 0u; s < LOADS; s = s + 1u) {
      x.a[s] = four_a(a.at + (i + 8u * s) * a.step);
      x.b[s] = four_b(b.at + (i + 8u * s) * b.step);
    }
  } else if (i < end) {
    for (var s = 0u; s < LOADS; s = s + 1u) {
      let in_a = before(end, a, i + 8u * s);
      let in_b = before(end, b, i + 8u * s);
      x.a[s] = select(vec4<f32>(0.0), four_a(or_first(a.at + (i + 8u * s) * a.step, a, in_a)), in_a);
      x.b[s] = select(vec4<f32>(0.0), four_b(or_first(b.at + (i + 8u * s) * b.step, b, in_b)), in_b);
    }
  }
  return x;
}

@compute @workgroup_size(GROUP)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) local: u32) {
  let tile = tile_of(group_index(group, groups), SIDE, SIDE);
  if (tile.part >= parts() || tile.row >= m()) { return; }
  let x = local % 8u + local / 32u % 2u * 8u;
  let y = local / 8u % 4u + local / 64u * 4u;
  let a = source(local, tile.row, m(), tile.batch * p.stride_a, p.lda, p.trans_a != 0u);
  let b = source(local, tile.col, p.n, tile.batch * p.stride_b, p.ldb, p.trans_b == 0u);
  // Every part takes as long, so that the loop's end does not depend on the workgroup.
  let depth = part_depth();
  let begin = first_term(tile.part);
  let end = min(begin + depth, k());

  var sums: array<array<vec4<f32>, COLS>, 8>; // in lines, four of each block
  var next = loads(a, b, begin, end);
  var i = 0u;
  if (i < depth) {
    loop {
      i = i + DEPTH;
      workgroupBarrier();
      for (var s = 0u; s < LOADS; s = s + 1u) {
        store_a(a, s, next.a[s]);
        store_b(b, s, next.b[s]);
      }
      workgroupBarrier();
      next = loads(a, b, begin + i, end);
      for (var j = 0u; j < DEPTH; j = j + 1u) {
        var four_rows: array<vec4<f32>, 2>;
        var four_cols: array<vec4<f32>, COLS>;
        for (var r = 0u; r < 2u; r = r + 1u) { four_rows[r] = tile_a[j * PITCH + YS * r + y]; }
        for (var c = 0u; c < COLS; c = c + 1u) { four_cols[c] = tile_b[j * PITCH + 16u * c + x]; }
        for (var r = 0u; r < 2u; r = r + 1u) {
          let a = four_rows[r];
          for (var c = 0u; c < COLS; c = c + 1u) {
            let b = four_cols[c];
            sums[4u * r][c] = sums[4u * r][c] + b * a.x;
            sums[4u * r + 1u][c] = sums[4u * r + 1u][c] + b * a.y;
            sums[4u * r + 2u][c] = sums[4u * r + 2u][c] + b * a.z;
            sums[4u * r + 3u][c] = sums[4u * r + 3u][c] + b * a.w;
          }
        }
      }
      if (i >= depth) { break; }
    }
  }
  // The stores are long: the loop over the lines stays rolled, and only the front one is
  // stored, to which the others move.
  let to = results_at(tile);
  let last = min(m(), tile.row + SIDE);
  var row = tile.row + 4u * y;
  var line = 0u;
  while (row < last) {
    for (var c = 0u; c < COLS; c = c + 1u) { store_sum(sums[0][c], to, row, tile.col + 4u * (16u * c + x)); }
    for (var j = 0u; j < 7u; j = j + 1u) { sums[j] = sums[j + 1u]; }
    line = line + 1u;
    row = tile.row + 4u * (line / 4u * YS + y) + line % 4u;
  }
}
