// Attention for software devices with subgroups of 8: an invocation has 4 rows of a tile
// of 32, with all of their scores and results, and loads an eighth of the other tile's
// rows, which it shuffles to the others. No sum spans invocations. SLICES slices of 32
// columns are computed at once; a head with more takes several workgroups, each with all
// of the scores.

fn exp4(x: vec4<f32>) -> vec4<f32> { return vec4<f32>(exp_f32(x.x), exp_f32(x.y), exp_f32(x.z), exp_f32(x.w)); }

fn scaled(x: mat4x4<f32>, by: vec4<f32>) -> mat4x4<f32> { return mat4x4<f32>(x[0] * by, x[1] * by, x[2] * by, x[3] * by); }

// An invocation's values of a tile, 4 for each row of the other tile.
var<workgroup> own: array<vec4<f32>, 256>; // [32][8]

fn store_own(local: u32, i: u32, x: mat4x4<f32>) {
  for (var j = 0u; j < 4u; j = j + 1u) { own[(4u * i + j) * 8u + local] = x[j]; }
}
fn load_own(local: u32, i: u32) -> mat4x4<f32> {
  let at = 32u * i + local;
  return mat4x4<f32>(own[at], own[at + 8u], own[at + 16u], own[at + 24u]);
}

// The intervals of four queries, one query per component. Those past the end are empty.
struct Ranges4 { x: vec4<i32>, y: vec4<i32>, z: vec4<i32>, w: vec4<i32> }
fn ranges4(batch: u32, t: u32) -> Ranges4 {
  var rows: mat4x4<f32>; // the queries' intervals as columns; counts of keys are exact
  for (var r = 0u; r < 4u; r = r + 1u) {
    let one = intervals_of(batch * p.queries + min(t + r, p.queries - 1u));
    rows[r] = select(vec4<f32>(0.0), vec4<f32>(one), vec4<bool>(t + r < p.queries));
  }
  let transposed_if = transpose(rows);
  return Ranges4(vec4<i32>(transposed_if[0]), vec4<i32>(transposed_if[1]), vec4<i32>(transposed_if[2]), vec4<i32>(transposed_if[3]));
}
// To which of four queries a key is visible.
fn visible4(by: Ranges4, key: u32) -> vec4<bool> {
  let k = vec4<i32>(i32(key));
  return ((k >= by.x) & (k < by.y)) | ((k >= by.z) & (k < by.w));
}

// The tiles of keys in two ranges, in order: a loop from first to end that jumps from
// skip to to. On a software device a lane also executes what it skips by a branch.
struct TileWalk { first: u32, skip: u32, to: u32, end: u32 }
const NOWHERE: u32 = 0x7fffffffu;
fn walk_of(ranges: vec4<i32>) -> TileWalk {
  let starts = select(vec2<u32>(NOWHERE), vec2<u32>(ranges.xz) / 32u, ranges.xz < ranges.yw);
  let ends = select(vec2<u32>(0u), (vec2<u32>(ranges.yw) + 31u) / 32u, ranges.xz < ranges.yw);
  let swap = starts.y < starts.x;
  return TileWalk(min(starts.x, starts.y), select(ends.x, ends.y, swap), max(starts.x, starts.y), max(ends.x, ends.y));
}
fn next_of(walk: TileWalk, i: u32) -> u32 {
  return select(i + 1u, max(i + 1u, walk.to), i + 1u >= walk.skip);
}
