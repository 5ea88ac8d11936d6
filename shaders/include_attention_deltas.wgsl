// The first passes of the gradient. Scratch: delta [B,Tq,H], then the intervals of
// every tile of queries, as floats.

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

fn tile_at(batch: u32, tile: u32) -> u32 {
  return p.batch * p.queries * p.heads + 4u * (batch * ((p.queries + 31u) / 32u) + tile);
}

// The intervals of the tiles of queries.
@compute @workgroup_size(GROUP)
fn tiles(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
         @builtin(local_invocation_index) local: u32) {
  let i = group_index(group, groups) * GROUP + local;
  let across = (p.queries + 31u) / 32u;
  let batch = i / across;
  if (batch >= p.batch) { return; }
  let ranges = intervals_of_tile(batch, i % across * 32u);
  let at = tile_at(batch, i % across);
  store_scratch(at, f32(ranges.x));
  store_scratch(at + 1u, f32(ranges.y));
  store_scratch(at + 2u, f32(ranges.z));
  store_scratch(at + 3u, f32(ranges.w));
}

fn ranges_from_scratch(batch: u32, tile: u32) -> vec4<i32> {
  let at = tile_at(batch, tile);
  return vec4<i32>(vec4<f32>(load_scratch(at), load_scratch(at + 1u), load_scratch(at + 2u), load_scratch(at + 3u)));
}
