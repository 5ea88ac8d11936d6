// For few rows and b stored transposed, as in decoding: a workgroup computes 4 columns of
// a row of c, with its invocations along k. An invocation loads STEPS times TERMS terms of
// the row and of each column before it uses the first, to wait for memory once.
var<workgroup> partial: array<vec4<f32>, GROUP>; // the columns' sums

@compute @workgroup_size(GROUP)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) local: u32) {
  // The rows of the same columns run at the same time, and share them in the cache.
  let index = group_index(group, groups);
  let across = (p.n + 3u) / 4u;
  let row = index % p.m_max;
  let col = index / p.m_max % across * 4u;
  let batch = index / p.m_max / across;
  if (batch >= p.batch || row >= m()) { return; }
  let a = batch * p.stride_a + row * p.lda;
  let b = batch * p.stride_b + min(vec4<u32>(col) + vec4<u32>(0u, 1u, 2u, 3u), vec4<u32>(p.n - 1u)) * p.ldb;
  let end = k();
  var sum = vec4<f32>(0.0);
  for (var i = TERMS * local; i < end; i = i + STEPS * TERMS * GROUP) {
    var x: array<Terms, STEPS>;
    var y: array<array<Terms, 4>, STEPS>;
    for (var s = 0u; s < STEPS; s = s + 1u) {
      let next = i + s * TERMS * GROUP;
      let at = select(i, next, next < end);
      x[s] = terms_a(a + at);
      y[s][0] = terms_b(b.x + at);
      y[s][1] = terms_b(b.y + at);
      y[s][2] = terms_b(b.z + at);
      y[s][3] = terms_b(b.w + at);
    }
    for (var s = 0u; s < STEPS; s = s + 1u) {
      let four = vec4<f32>(dot_terms(x[s], y[s][0]), dot_terms(x[s], y[s][1]), dot_terms(x[s], y[s][2]), dot_terms(x[s], y[s][3]));
      sum = sum + select(vec4<f32>(0.0), four, i + s * TERMS * GROUP < end);
    }
  }
  partial[local] = sum;
  workgroupBarrier();
  if (local < 8u) {
    for (var i = local + 8u; i < GROUP; i = i + 8u) { sum = sum + partial[i]; }
    partial[local] = sum;
  }
  workgroupBarrier();
  let j = WIDTH * local; // of the 4 columns
  if (j < 4u) {
    var total = vec4<f32>(0.0);
    for (var i = 0u; i < 8u; i = i + 1u) { total = total + partial[i]; }
    finish(vec_of(total[j], total[j + WIDTH - 1u]), row, col + j, batch);
  }
}
