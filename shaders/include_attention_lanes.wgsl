// Attention for a rasteriser with subgroups of 8: an invocation has 4 rows of a
// tile of 32 for itself, with all of their scores and results, and an eighth of the
// rows that they meet, which it hands to the others. Nothing is summed up across
// invocations. SLICES slices of 32 columns are done at once; a head with more takes
// several workgroups, each with all of the scores.

fn exp4(x: vec4<f32>) -> vec4<f32> { return vec4<f32>(exp_f32(x.x), exp_f32(x.y), exp_f32(x.z), exp_f32(x.w)); }

fn scaled(x: mat4x4<f32>, by: vec4<f32>) -> mat4x4<f32> { return mat4x4<f32>(x[0] * by, x[1] * by, x[2] * by, x[3] * by); }

// An invocation's own values of a tile, 4 for each row that the tile meets.
var<workgroup> own: array<vec4<f32>, 256>; // [32][8]

fn put_own(local: u32, i: u32, x: mat4x4<f32>) {
  for (var j = 0u; j < 4u; j = j + 1u) { own[(4u * i + j) * 8u + local] = x[j]; }
}
fn take_own(local: u32, i: u32) -> mat4x4<f32> {
  let at = 32u * i + local;
  return mat4x4<f32>(own[at], own[at + 8u], own[at + 16u], own[at + 24u]);
}

// What four queries see: in each member, a value of each query. Those past the end
// see nothing.
struct Seen { x: vec4<i32>, y: vec4<i32>, z: vec4<i32>, w: vec4<i32> }
fn seen_by(batch: u32, t: u32) -> Seen {
  var rows: mat4x4<f32>; // the queries' intervals as columns; counts of keys are exact
  for (var r = 0u; r < 4u; r = r + 1u) {
    let one = intervals_of(batch * p.queries + min(t + r, p.queries - 1u));
    rows[r] = select(vec4<f32>(0.0), vec4<f32>(one), vec4<bool>(t + r < p.queries));
  }
  let turned = transpose(rows);
  return Seen(vec4<i32>(turned[0]), vec4<i32>(turned[1]), vec4<i32>(turned[2]), vec4<i32>(turned[3]));
}
// Which of four queries see a key.
fn sees4(by: Seen, key: u32) -> vec4<bool> {
  let k = vec4<i32>(i32(key));
  return ((k >= by.x) & (k < by.y)) | ((k >= by.z) & (k < by.w));
}

// The tiles of keys that two ranges touch, in order: a loop that starts at first,
// ends at end, and goes from skip to to. A rasteriser runs what a lane skips.
struct Walk { first: u32, skip: u32, to: u32, end: u32 }
const NOWHERE: u32 = 0x7fffffffu;
fn walk_of(seen: vec4<i32>) -> Walk {
  let starts = select(vec2<u32>(NOWHERE), vec2<u32>(seen.xz) / 32u, seen.xz < seen.yw);
  let ends = select(vec2<u32>(0u), (vec2<u32>(seen.yw) + 31u) / 32u, seen.xz < seen.yw);
  let swap = starts.y < starts.x;
  return Walk(min(starts.x, starts.y), select(ends.x, ends.y, swap), max(starts.x, starts.y), max(ends.x, ends.y));
}
fn next_of(walk: Walk, i: u32) -> u32 {
  return select(i + 1u, max(i + 1u, walk.to), i + 1u >= walk.skip);
}
