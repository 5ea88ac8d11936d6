// For GPUs: workgroups of 16×16 invocations compute tiles of 64·BLOCKS rows and columns
// of c, DEPTH terms at a time in shared memory; an invocation has BLOCKS² blocks of 4×4,
// 64 apart.

var<workgroup> tile_a: array<vec4<f32>, LINES>; // [DEPTH][PITCH], each 4 rows of op(a)
var<workgroup> tile_b: array<vec4<f32>, LINES>; // [DEPTH][PITCH], each 4 columns of op(b)

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) local: u32) {
  let side = 64u * BLOCKS;
  let tile = tile_of(group_index(group, groups), side, side);
  let row = tile.row;
  let col = tile.col;
  let batch = tile.batch;
  if (tile.part >= parts() || row >= m()) { return; }
  let x = local % 16u;
  let y = local / 16u;
  let range = terms(tile.part);
  let depth = range.y;

  var sums: array<array<mat4x4<f32>, BLOCKS>, BLOCKS>; // the rows of c as columns
  for (var i = range.x; i < depth; i = i + DEPTH) {
    // Coalesced loads: along k where a matrix is stored so.
    for (var e = local; e < side * DEPTH; e = e + 256u) {
      let r = select(e / DEPTH, e % side, p.trans_a != 0u);
      let c = select(e % DEPTH, e / side, p.trans_a != 0u);
      let at = batch * p.stride_a + select((row + r) * p.lda + i + c, (i + c) * p.lda + row + r, p.trans_a != 0u);
      var value = 0.0;
      if (row + r < m() && i + c < depth) { value = load_a(at); }
      tile_a[c * PITCH + r / 4u][r % 4u] = value;
    }
    for (var e = local; e < side * DEPTH; e = e + 256u) {
      let r = select(e % side, e / DEPTH, p.trans_b != 0u);
      let c = select(e / side, e % DEPTH, p.trans_b != 0u);
      let at = batch * p.stride_b + select((i + c) * p.ldb + col + r, (col + r) * p.ldb + i + c, p.trans_b != 0u);
      var value = 0.0;
      if (col + r < p.n && i + c < depth) { value = load_b(at); }
      tile_b[c * PITCH + r / 4u][r % 4u] = value;
    }
    workgroupBarrier();
    for (var j = 0u; j < DEPTH; j = j + 1u) {
      for (var r = 0u; r < BLOCKS; r = r + 1u) {
        let a = tile_a[j * PITCH + 16u * r + y];
        for (var c = 0u; c < BLOCKS; c = c + 1u) {
          let b = tile_b[j * PITCH + 16u * c + x];
          sums[r][c] = sums[r][c] + mat4x4<f32>(b * a.x, b * a.y, b * a.z, b * a.w);
        }
      }
    }
    workgroupBarrier();
  }
  for (var r = 0u; r < BLOCKS; r = r + 1u) {
    for (var c = 0u; c < BLOCKS; c = c + 1u) {
      for (var i = 0u; i < 4u; i = i + 1u) {
        for (var j = 0u; j < 4u; j = j + WIDTH) {
          store_sum(vec_of(sums[r][c][i][j], sums[r][c][i][j + WIDTH - 1u]), row + 64u * r + 4u * y + i, col + 64u * c + 4u * x + j, batch, tile.part);
        }
      }
    }
  }
}
