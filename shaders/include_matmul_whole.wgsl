// Without split-K: a workgroup's tile is a tile of c. An empty batch has none.
fn parts() -> u32 { return min(p.batch, 1u); }
fn part_depth() -> u32 { return k(); }
fn first_term(part: u32) -> u32 { return 0u; }
// Where a matrix of results is, and its pitch.
fn results_at(tile: Tile) -> vec2<u32> { return vec2<u32>(tile.batch * p.stride_c, p.ldc); }
fn store_sum(sum: vec4<f32>, to: vec2<u32>, row: u32, col: u32) { finish(sum, to.x + row * to.y + col, col); }
