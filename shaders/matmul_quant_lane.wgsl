// For few rows on a software device: an invocation computes COLS columns of a row of c,
// every GROUPth column. It loads 32 terms of the row, and the words of a chunk of each
// column, once.
@compute @workgroup_size(GROUP)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) local: u32) {
  let index = group_index(group, groups);
  let across = (p.n + GROUP * COLS - 1u) / (GROUP * COLS);
  let row = index / across;
  if (row >= m()) { return; }
  let col = index % across * GROUP * COLS + local;
  let chunks = p.k / 32u;
  var at: array<u32, COLS>; // columns past the end load the last one, and are not stored
  for (var c = 0u; c < COLS; c = c + 1u) { at[c] = min(col + c * GROUP, p.n - 1u) * chunks; }
  var sums: array<f32, COLS>;
  for (var i = 0u; i < chunks; i = i + 1u) {
    var x: array<vec4<f32>, 8>;
    for (var j = 0u; j < 8u; j = j + 1u) { x[j] = load4_a(row * p.lda + chunk_at(i, j), 4u); }
    for (var c = 0u; c < COLS; c = c + 1u) { sums[c] = sums[c] + dot_chunk(at[c] + i, x); }
  }
  for (var c = 0u; c < COLS; c = c + 1u) { finish(sums[c], row, col + c * GROUP); }
}
