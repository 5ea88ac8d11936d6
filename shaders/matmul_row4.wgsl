// As matmul_row, for rows whose length is a multiple of 4: an invocation loads 4 terms at
// a time.
var<workgroup> partial: array<vec4<f32>, GROUP>; // the columns' sums

@compute @workgroup_size(GROUP)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) local: u32) {
  let index = group_index(group, groups);
  let across = (p.n + 3u) / 4u;
  let col = index % across * 4u;
  let row = index / across % p.m_max;
  let batch = index / across / p.m_max;
  if (batch >= p.batch || row >= m()) { return; }
  let a = batch * p.stride_a + row * p.lda;
  let cols = min(vec4<u32>(col) + vec4<u32>(0u, 1u, 2u, 3u), vec4<u32>(p.n - 1u));
  let b = batch * p.stride_b + cols * p.ldb;
  var sum = vec4<f32>(0.0);
  for (var i = 4u * local; i < k(); i = i + 4u * GROUP) {
    let terms = load4_a(a + i, 4u);
    sum = sum + vec4<f32>(dot(terms, load4_b(b.x + i, 4u)), dot(terms, load4_b(b.y + i, 4u)),
                          dot(terms, load4_b(b.z + i, 4u)), dot(terms, load4_b(b.w + i, 4u)));
  }
  partial[local] = sum;
  for (var n = GROUP / 2u; n > 0u; n = n / 2u) {
    workgroupBarrier();
    if (local < n) { partial[local] = partial[local] + partial[local + n]; }
  }
  if (local == 0u) {
    let total = partial[0];
    for (var j = 0u; j < 4u; j = j + WIDTH) { finish(vec_of(total[j], total[j + WIDTH - 1u]), row, col + j, batch); }
  }
}
