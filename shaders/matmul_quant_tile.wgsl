// For GPUs: a workgroup of 128 computes 64 rows and columns of c, 16 terms at a time in
// shared memory; an invocation has 8 rows by 4 columns. Of 32 invocations, 4 rows of 8 are
// neighbours, so that they read few different blocks of shared memory. What is in
// registers from a round to the next are b's words, not its values, so that nothing waits
// for them before the multiply-adds.
const PITCH: u32 = 17u; // in vec4: not a power of two, to avoid bank conflicts
var<workgroup> tile_a: array<vec4<f32>, 271>; // [16][PITCH] without the last gap, each 4 rows of a
var<workgroup> tile_b: array<vec4<f32>, 271>; // the same of 4 columns of op(b)

// An invocation's part of the terms from i on: eight of a row of a, and eight weights.
// After the last terms there is nothing to load.
struct Loaded { a0: vec4<f32>, a1: vec4<f32>, b: Packed }
fn loads(at: u32, i: u32, weight: u32) -> Loaded {
  var x: Loaded;
  if (i < p.k) { x.a0 = load4_a(at + i, p.k - i); }
  if (i + 4u < p.k) { x.a1 = load4_a(at + i + 4u, p.k - i - 4u); }
  x.b = packed(weight);
  return x;
}

@compute @workgroup_size(GROUP)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) local: u32) {
  // The workgroups that run at the same time share the columns of b in the cache.
  let index = group_index(group, groups);
  let down = (p.m_max + 63u) / 64u;
  let first_row = index % down * 64u;
  let first_col = index / down * 64u;
  if (first_row >= m() || first_col >= p.n) { return; }
  let x = local % 8u + local / 32u % 2u * 8u;
  let y = local / 8u % 4u + local / 64u * 4u;
  // Rows and columns past the end load the last ones, and are not stored. What the terms
  // after the last one load of b is multiplied by 0.
  let line = local / 2u;
  let side = local % 2u * 8u;
  let at = min(first_row + line, m() - 1u) * p.lda;
  let along = p.trans_b != 0u;
  let first = select(min(first_col + local % 8u * 8u, p.n - 8u), min(first_col + line, p.n - 1u) * p.k + side, along);

  var sums: array<vec4<f32>, 8>;
  var weight = first + select(min(local / 8u, p.k - 1u) * p.n, 0u, along);
  var next = loads(at, side, weight);
  for (var i = 0u; i < p.k; i = i + 16u) {
    let b = unpack(next.b, weight);
    workgroupBarrier();
    for (var t = 0u; t < 4u; t = t + 1u) {
      tile_a[(side + t) * PITCH + line / 4u][line % 4u] = next.a0[t];
      tile_a[(side + t + 4u) * PITCH + line / 4u][line % 4u] = next.a1[t];
    }
    if (along) {
      for (var t = 0u; t < 4u; t = t + 1u) {
        tile_b[(side + t) * PITCH + line / 4u][line % 4u] = b[0][t];
        tile_b[(side + t + 4u) * PITCH + line / 4u][line % 4u] = b[1][t];
      }
    } else {
      tile_b[local / 8u * PITCH + local % 8u * 2u] = b[0];
      tile_b[local / 8u * PITCH + local % 8u * 2u + 1u] = b[1];
    }
    workgroupBarrier();
    let after = min(i + 16u, select(p.k - 1u, p.k - 16u, along));
    weight = first + select(min(after + local / 8u, p.k - 1u) * p.n, after, along);
    next = loads(at, i + 16u + side, weight);
    for (var j = 0u; j < 16u; j = j + 4u) {
      for (var t = 0u; t < 4u; t = t + 1u) {
        let a0 = tile_a[(j + t) * PITCH + y];
        let a1 = tile_a[(j + t) * PITCH + 8u + y];
        let b4 = tile_b[(j + t) * PITCH + x];
        for (var r = 0u; r < 4u; r = r + 1u) {
          sums[r] = sums[r] + b4 * a0[r];
          sums[4u + r] = sums[4u + r] + b4 * a1[r];
        }
      }
    }
  }
  // The stores are long: the loop over the lines stays rolled, and only the front one is
  // stored, to which the others move.
  let last = min(m(), first_row + 64u);
  var row = first_row + 4u * y;
  var stored = 0u;
  while (row < last) {
    finish4(sums[0], row, first_col + 4u * x);
    for (var j = 0u; j < 7u; j = j + 1u) { sums[j] = sums[j + 1u]; }
    stored = stored + 1u;
    row = first_row + stored / 4u * 32u + 4u * y + stored % 4u;
  }
}

// Writes four results of a row.
fn finish4(sum: vec4<f32>, row: u32, col: u32) {
  if (col >= p.n) { return; }
  let at = row * p.ldc + col;
  let n = p.n - col;
  var c = sum;
  if (p.accumulate != 0u) { c = c + load4_c(at, n); }
  if (p.bias != 0u) { c = c + load4_bias(col, n); }
  if (p.residual != 0u) { c = c + load4_residual(at, n); }
  store4_c(at, n, c);
}
