// The first pass of the gradient.

fn block_y(at: vec4<u32>, d: u32) -> mat4x4<f32> {
  let n = p.head_dim - d;
  return mat4x4<f32>(load4_y(at.x + d, n), load4_y(at.y + d, n), load4_y(at.z + d, n), load4_y(at.w + d, n));
}
fn block_dy(at: vec4<u32>, d: u32) -> mat4x4<f32> {
  let n = p.head_dim - d;
  return mat4x4<f32>(load4_dy(at.x + d, n), load4_dy(at.y + d, n), load4_dy(at.z + d, n), load4_dy(at.w + d, n));
}

// delta = Σ dy·y of four queries and a head, as the diagonal of a block: summed in the
// order of dy·vᵀ, from which it is subtracted, so that with one key, where y = v, the
// difference is exactly 0.
@compute @workgroup_size(GROUP)
fn deltas(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
          @builtin(local_invocation_index) local: u32) {
  let i = group_index(group, groups) * GROUP + local;
  let blocks = (p.queries + 3u) / 4u;
  let head = i % p.heads;
  let t = i / p.heads % blocks * 4u;
  let batch = i / p.heads / blocks;
  if (batch >= p.batch) { return; }
  let at = queries_at(batch, t, head);
  var sum = mat4x4<f32>();
  for (var d = 0u; d < p.head_dim; d = d + 4u) { sum = sum + transpose(block_y(at, d)) * block_dy(at, d); }
  let to = (batch * p.queries + t) * p.heads + head;
  store_scratch(to, sum[0][0]);
  if (t + 1u < p.queries) { store_scratch(to + p.heads, sum[1][1]); }
  if (t + 2u < p.queries) { store_scratch(to + 2u * p.heads, sum[2][2]); }
  if (t + 3u < p.queries) { store_scratch(to + 3u * p.heads, sum[3][3]); }
}
