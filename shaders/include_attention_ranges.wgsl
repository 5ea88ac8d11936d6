// Scratch of the gradient: delta [B,Tq,H], then the intervals of every tile of queries, as
// floats.

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
