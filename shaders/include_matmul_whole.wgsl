// Without split-K: a workgroup's tile is a tile of c. An empty batch has none.
fn parts() -> u32 { return min(p.batch, 1u); }
fn terms(part: u32) -> vec2<u32> { return vec2<u32>(0u, k()); }
fn store_sum(sum: vec4<f32>, row: u32, col: u32, batch: u32, part: u32) { finish(sum, row, col, batch); }
