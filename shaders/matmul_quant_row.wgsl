// For few rows on a GPU: a workgroup computes 16 columns of a row of c. 16 neighbouring
// invocations divide the chunks of the row among them, for 4 columns.
var<workgroup> partial: array<vec4<f32>, GROUP>; // the columns' sums

@compute @workgroup_size(GROUP)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) local: u32) {
  // The rows of the same columns run at the same time, and share them in the cache.
  let index = group_index(group, groups);
  let row = index % p.m_max;
  let tile = index / p.m_max * GROUP / 4u;
  if (row >= m()) { return; }
  let chunks = p.k / 32u;
  // Columns past the end load the last one, and are not stored.
  let cols = min(vec4<u32>(tile + local / 16u * 4u) + vec4<u32>(0u, 1u, 2u, 3u), vec4<u32>(p.n - 1u)) * chunks;
  var sum = vec4<f32>(0.0);
  for (var i = local % 16u; i < chunks; i = i + 16u) {
    var x: array<vec4<f32>, 8>;
    for (var j = 0u; j < 8u; j = j + 1u) { x[j] = load4_a(row * p.lda + chunk_at(i, j), 4u); }
    let at = cols + i;
    sum = sum + vec4<f32>(dot_chunk(at.x, x), dot_chunk(at.y, x), dot_chunk(at.z, x), dot_chunk(at.w, x));
  }
  partial[local] = sum;
  workgroupBarrier();
  let col = WIDTH * local; // of the 16 columns
  if (col < GROUP / 4u) {
    var sums = vec4<f32>(0.0);
    for (var i = 0u; i < 16u; i = i + 1u) { sums = sums + partial[col / 4u * 16u + i]; }
    finish(vec_of(sums[col % 4u], sums[col % 4u + WIDTH - 1u]), row, tile + col);
  }
}
