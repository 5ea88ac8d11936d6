// For GPUs: attention by tiles (FlashAttention-2: Dao, 2023). A workgroup of 16×8
// invocations has TILE queries of a head and loops over tiles of 32 keys. An invocation
// has ROWS queries, 16 apart, with their scores of 4 keys, then their sums of 4 columns of
// v in each of SLICES slices of 32; a head with more columns takes several workgroups,
// each with all of the scores. What the others need goes through shared memory, 32 columns
// at a time; the next ones are loaded meanwhile. Sums, maxima and totals stay in registers.

const PITCH: u32 = 9u; // of 8 vec4; 8 would put all rows into the same banks
const NO_KEY: i32 = 16777216; // after the last one

var<workgroup> rows_q: array<vec4<f32>, LINES>; // [TILE][PITCH]: q, then the weights of 32 keys
var<workgroup> rows_kv: array<vec4<f32>, 288>;  // [32][PITCH]: k, then v; key 4·y+j in row y+8·j
var<workgroup> by_key: array<vec4<f32>, TWO>;   // [TILE][8]: a value of each query and each 4 keys
var<workgroup> any_ranges: vec4<i32>;          // visible to any query of the tile
var<workgroup> all_ranges: vec4<i32>;          // visible to all of them

fn exp4(x: vec4<f32>) -> vec4<f32> { return vec4<f32>(exp_f32(x.x), exp_f32(x.y), exp_f32(x.z), exp_f32(x.w)); }
fn top_of(x: vec4<f32>) -> f32 { return max(max(x.x, x.y), max(x.z, x.w)); }

// The smallest intervals that contain those of some queries, and those in which all are.
struct Ranges { outer: vec4<i32>, inner: vec4<i32> }
fn with_query(r: Ranges, outer: vec4<i32>, inner: vec4<i32>) -> Ranges {
  let some = vec4<bool>(outer.x < outer.y, outer.x < outer.y, outer.z < outer.w, outer.z < outer.w);
  let wider = vec4<i32>(min(r.outer.x, outer.x), max(r.outer.y, outer.y), min(r.outer.z, outer.z), max(r.outer.w, outer.w));
  return Ranges(select(r.outer, wider, some),
    vec4<i32>(max(r.inner.x, inner.x), min(r.inner.y, inner.y), max(r.inner.z, inner.z), min(r.inner.w, inner.w)));
}

// Sets any_ranges and all_ranges from the intervals of every invocation's query, by way of
// rows_q; counts of keys are exact as floats.
fn set_ranges(own: vec4<i32>, local: u32) {
  let none = Ranges(vec4<i32>(NO_KEY, 0, NO_KEY, 0), vec4<i32>(0, NO_KEY, 0, NO_KEY));
  rows_q[local] = vec4<f32>(own);
  workgroupBarrier();
  if (local < 8u) {
    var some = none;
    for (var i = local; i < TILE; i = i + 8u) {
      let one = vec4<i32>(rows_q[i]);
      some = with_query(some, one, one);
    }
    by_key[2u * local] = vec4<f32>(some.outer);
    by_key[2u * local + 1u] = vec4<f32>(some.inner);
  }
  workgroupBarrier();
  if (local == 0u) {
    var all = none;
    for (var i = 0u; i < 16u; i = i + 2u) { all = with_query(all, vec4<i32>(by_key[i]), vec4<i32>(by_key[i + 1u])); }
    any_ranges = all.outer;
    all_ranges = all.inner;
  }
  workgroupBarrier();
}

@compute @workgroup_size(GROUP)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) local: u32) {
  let parts = (p.head_dim + 32u * SLICES - 1u) / (32u * SLICES);
  let tiles = (p.queries + TILE - 1u) / TILE;
  let part = group_index(group, groups) % parts;
  let index = group_index(group, groups) / parts;
  let first = index % tiles * TILE;
  let head = index / tiles % p.heads;
  let batch = index / tiles / p.heads;
  if (batch >= p.batch) { return; }
  let kv = head / (p.heads / p.kv_heads);
  let scale = p.scale;
  let columns = p.head_dim;
  let x = local % 16u;
  let y = local / 16u;
  let last_query = batch * p.queries + p.queries - 1u;
  set_ranges(intervals_of(min(batch * p.queries + first + local % TILE, last_query)), local);
  let visible = workgroupUniformLoad(&any_ranges);
  let common_to_all = workgroupUniformLoad(&all_ranges);

  // An invocation copies the same vec4 of every 16th row into shared memory; past the end
  // those of the last row.
  let line = local / 8u;
  let four = local % 8u;
  let to_q = line * PITCH + four;
  let to_kv = (line % 4u * 8u + line / 4u) * PITCH + four;
  let last_four = (columns - 1u) / 4u * 4u;
  let step_q = 16u * p.heads * columns;
  let from_q = query_at(batch, first + line, head);
  let last_q = query_at(batch, p.queries - 1u, head);
  let step_kv = 16u * p.kv_heads * columns;
  let last_kv = key_at(batch, p.keys - 1u, kv);

  var sums: array<array<vec4<f32>, SLICES>, ROWS>; // weights·v
  var row_max: array<f32, ROWS>;
  var total: array<f32, ROWS>; // of exp(score - row_max) over this invocation's keys
  for (var i = 0u; i < ROWS; i = i + 1u) { row_max[i] = MASKED; }
  for (var key = 0u; key < p.keys; key = key + 32u) {
    if (!any_visible(visible, key, 32u)) { continue; }
    let from_kv = key_at(batch, key + line, kv);
    var next_q: array<vec4<f32>, ROWS>;
    var next: array<vec4<f32>, LOADS>;
    var scores: array<vec4<f32>, ROWS>;
    for (var i = 0u; i < ROWS; i = i + 1u) { scores[i] = vec4<f32>(0.0); }
    var d = 0u;
    loop {
      if (d < columns) {
        let at = min(d + 4u * four, last_four);
        for (var i = 0u; i < ROWS; i = i + 1u) { next_q[i] = load4_q(min(from_q + step_q * i, last_q) + at, columns - at); }
        for (var i = 0u; i < LOADS; i = i + 1u) { next[i] = load4_k(min(from_kv + step_kv * i, last_kv) + at, columns - at); }
      } else {
        let at = min(32u * part * SLICES + 4u * four, last_four);
        for (var i = 0u; i < LOADS; i = i + 1u) { next[i] = load4_v(min(from_kv + step_kv * i, last_kv) + at, columns - at); }
      }
      if (d > 0u) {
        let fours = min(8u, (columns - d + 35u) / 4u);
        for (var c = 0u; c < fours; c = c + 1u) {
          let k0 = rows_kv[y * PITCH + c];
          let k1 = rows_kv[(y + 8u) * PITCH + c];
          let k2 = rows_kv[(y + 16u) * PITCH + c];
          let k3 = rows_kv[(y + 24u) * PITCH + c];
          for (var i = 0u; i < ROWS; i = i + 1u) {
            let q = rows_q[(x + 16u * i) * PITCH + c];
            scores[i] = scores[i] + q.x * vec4<f32>(k0.x, k1.x, k2.x, k3.x) + q.y * vec4<f32>(k0.y, k1.y, k2.y, k3.y)
              + q.z * vec4<f32>(k0.z, k1.z, k2.z, k3.z) + q.w * vec4<f32>(k0.w, k1.w, k2.w, k3.w);
          }
        }
      }
      if (d >= columns) { break; }
      workgroupBarrier();
      for (var i = 0u; i < ROWS; i = i + 1u) { rows_q[to_q + 16u * PITCH * i] = next_q[i]; }
      for (var i = 0u; i < LOADS; i = i + 1u) { rows_kv[to_kv + 4u * PITCH * i] = next[i]; }
      workgroupBarrier();
      d = d + 32u;
    }

    // Online softmax.
    let last = i32(key + 32u);
    let whole = (i32(key) >= common_to_all.x && last <= common_to_all.y) || (i32(key) >= common_to_all.z && last <= common_to_all.w);
    for (var i = 0u; i < ROWS; i = i + 1u) { scores[i] = scores[i] * scale; }
    if (!whole) {
      let own = key + 4u * y;
      for (var i = 0u; i < ROWS; i = i + 1u) {
        let by = intervals_of(min(batch * p.queries + first + x + 16u * i, last_query));
        let seen = vec4<bool>(is_visible(by, own), is_visible(by, own + 1u), is_visible(by, own + 2u), is_visible(by, own + 3u));
        scores[i] = select(vec4<f32>(MASKED), scores[i], seen);
      }
    }
    for (var i = 0u; i < ROWS; i = i + 1u) { by_key[2u * (x + 16u * i) + y / 4u][y % 4u] = top_of(scores[i]); }
    workgroupBarrier();
    for (var i = 0u; i < ROWS; i = i + 1u) {
      let at = 2u * (x + 16u * i);
      let now = max(row_max[i], top_of(max(by_key[at], by_key[at + 1u])));
      let w = select(exp4(scores[i] - now), vec4<f32>(0.0), scores[i] == vec4<f32>(MASKED));
      let factor = exp_f32(row_max[i] - now);
      row_max[i] = now;
      total[i] = total[i] * factor + ((w.x + w.y) + (w.z + w.w));
      for (var s = 0u; s < SLICES; s = s + 1u) { sums[i][s] = sums[i][s] * factor; }
      rows_q[(x + 16u * i) * PITCH + y] = w;
    }

    let fours = min(8u, (p.keys - key + 3u) / 4u);
    for (var s = 0u; s < SLICES; s = s + 1u) {
      let slice = 32u * (part * SLICES + s);
      if (slice < columns) {
        if (s > 0u) { workgroupBarrier(); }
        for (var i = 0u; i < LOADS; i = i + 1u) { rows_kv[to_kv + 4u * PITCH * i] = next[i]; }
        workgroupBarrier();
        if (s + 1u < SLICES) {
          let at = min(slice + 32u + 4u * four, last_four);
          for (var i = 0u; i < LOADS; i = i + 1u) { next[i] = load4_v(min(from_kv + step_kv * i, last_kv) + at, columns - at); }
        }
        for (var c = 0u; c < fours; c = c + 1u) {
          let v0 = rows_kv[c * PITCH + y];
          let v1 = rows_kv[(c + 8u) * PITCH + y];
          let v2 = rows_kv[(c + 16u) * PITCH + y];
          let v3 = rows_kv[(c + 24u) * PITCH + y];
          for (var i = 0u; i < ROWS; i = i + 1u) {
            let w = rows_q[(x + 16u * i) * PITCH + c];
            sums[i][s] = sums[i][s] + w.x * v0 + w.y * v1 + w.z * v2 + w.w * v3;
          }
        }
      }
    }
  }

  workgroupBarrier();
  for (var i = 0u; i < ROWS; i = i + 1u) { by_key[2u * (x + 16u * i) + y / 4u][y % 4u] = total[i]; }
  workgroupBarrier();
  for (var i = 0u; i < ROWS; i = i + 1u) {
    let query = first + x + 16u * i;
    let totals = by_key[2u * (x + 16u * i)] + by_key[2u * (x + 16u * i) + 1u];
    let sum = (totals.x + totals.y) + (totals.z + totals.w);
    if (query < p.queries) {
      if (part == 0u && y == 0u) {
        store_lse((batch * p.queries + query) * p.heads + head, select(row_max[i] + log_f32(sum), 0.0, sum == 0.0));
      }
      let factor = select(1.0 / sum, 0.0, sum == 0.0);
      for (var s = 0u; s < SLICES; s = s + 1u) {
        let d = 32u * (part * SLICES + s) + 4u * y;
        if (d < columns) { store4_y(query_at(batch, query, head) + d, columns - d, sums[i][s] * factor); }
      }
    }
  }
}
