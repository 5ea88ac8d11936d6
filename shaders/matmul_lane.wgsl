// For few rows on a software device: an invocation computes COLS columns of a row of c,
// every GROUPth column or pair of columns. The cost is reading b, once, 4 terms at a
// time.
fn column(c: u32) -> u32 { return c / WIDTH * WIDTH * GROUP + c % WIDTH; }

@compute @workgroup_size(GROUP)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) local: u32) {
  let index = group_index(group, groups);
  let across = (p.n + GROUP * COLS - 1u) / (GROUP * COLS);
  let row = index / across % p.m_max;
  let batch = index / across / p.m_max;
  if (batch >= p.batch || row >= m()) { return; }
  let col = index % across * GROUP * COLS + WIDTH * local;
  let a = batch * p.stride_a + row * p.lda;
  var at: array<u32, COLS>; // columns past the end load the last one, and are not stored
  for (var c = 0u; c < COLS; c = c + 1u) { at[c] = batch * p.stride_b + min(col + column(c), p.n - 1u) * p.ldb; }
  var sums: array<vec4<f32>, COLS>;
  for (var i = 0u; i < k(); i = i + 4u) {
    let terms = load4_a(a + i, 4u);
    for (var c = 0u; c < COLS; c = c + 1u) { sums[c] = sums[c] + terms * load4_b(at[c] + i, 4u); }
  }
  for (var c = 0u; c < COLS; c = c + WIDTH) {
    let next = c + WIDTH - 1u;
    finish(vec_of(dot(sums[c], vec4<f32>(1.0)), dot(sums[next], vec4<f32>(1.0))), row, col + column(c), batch);
  }
}
