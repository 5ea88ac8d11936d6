// Attention by tiles of 32 queries and 32 keys (FlashAttention-2: Dao, 2023). Dot
// products are 4×4 matrices: for A and B with rows of a and b as their columns, the
// columns of transpose(A)·B are the dot products of b's first row, second row, … with all
// rows of a.

// The smallest intervals that contain those of all queries of a tile.
fn intervals_of_tile(batch: u32, first: u32) -> vec4<i32> {
  var all = vec4<i32>(2147483647, 0, 2147483647, 0);
  for (var t = first; t < min(first + 32u, p.queries); t = t + 1u) {
    let one = intervals_of(batch * p.queries + t);
    if (one.x < one.y) { all = vec4<i32>(min(all.x, one.x), max(all.y, one.y), all.z, all.w); }
    if (one.z < one.w) { all = vec4<i32>(all.x, all.y, min(all.z, one.z), max(all.w, one.w)); }
  }
  return all;
}

// The offsets of four rows.
fn queries_at(batch: u32, t: u32, head: u32) -> vec4<u32> {
  return vec4<u32>(query_at(batch, t, head), query_at(batch, t + 1u, head), query_at(batch, t + 2u, head), query_at(batch, t + 3u, head));
}
fn keys_at(batch: u32, t: u32, kv: u32) -> vec4<u32> {
  return vec4<u32>(key_at(batch, t, kv), key_at(batch, t + 1u, kv), key_at(batch, t + 2u, kv), key_at(batch, t + 3u, kv));
}

// Four columns of four rows, the rows as the matrix's columns.
fn block_q(at: vec4<u32>, d: u32) -> mat4x4<f32> {
  let n = p.head_dim - d;
  return mat4x4<f32>(load4_q(at.x + d, n), load4_q(at.y + d, n), load4_q(at.z + d, n), load4_q(at.w + d, n));
}
fn block_k(at: vec4<u32>, d: u32) -> mat4x4<f32> {
  let n = p.head_dim - d;
  return mat4x4<f32>(load4_k(at.x + d, n), load4_k(at.y + d, n), load4_k(at.z + d, n), load4_k(at.w + d, n));
}
fn block_v(at: vec4<u32>, d: u32) -> mat4x4<f32> {
  let n = p.head_dim - d;
  return mat4x4<f32>(load4_v(at.x + d, n), load4_v(at.y + d, n), load4_v(at.z + d, n), load4_v(at.w + d, n));
}
