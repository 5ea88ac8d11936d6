// For few rows and b stored transposed, as in decoding: a workgroup computes 4 columns of
// a row of c, with its invocations along k. row_sums is of the variant's include.
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
  let total = row_sums(a, b, local);
  if (local == 0u) {
    for (var j = 0u; j < 4u; j = j + WIDTH) { finish(vec_of(total[j], total[j + WIDTH - 1u]), row, col + j, batch); }
  }
}
