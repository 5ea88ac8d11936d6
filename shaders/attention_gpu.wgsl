// For GPUs: attention by tiles (FlashAttention-2: Dao, 2023); see include_attention_gpu.wgsl.
// Maxima and totals of the softmax stay in registers too. A head with more columns than
// SLICES slices takes several workgroups, each with all of the scores.

const NO_KEY: i32 = 16777216; // after the last one

var<workgroup> by_key: array<vec4<f32>, 128>; // [TILE][8]: a value of each query and each 4 keys
var<workgroup> any_ranges: vec4<i32>;         // visible to any query of the tile
var<workgroup> all_ranges: vec4<i32>;         // visible to all of them

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
// rows; counts of keys are exact as floats.
fn set_ranges(own: vec4<i32>, local: u32) {
  let none = Ranges(vec4<i32>(NO_KEY, 0, NO_KEY, 0), vec4<i32>(0, NO_KEY, 0, NO_KEY));
  rows[local] = vec4<f32>(own);
  workgroupBarrier();
  if (local < 8u) {
    var some = none;
    for (var i = local; i < TILE; i = i + 8u) {
      let one = vec4<i32>(rows[i]);
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

fn queries_of(c: Copied, d: u32) -> array<vec4<f32>, ROWS> {
  var x: array<vec4<f32>, ROWS>;
  for (var i = 0u; i < ROWS; i = i + 1u) { x[i] = load4_q(row_of(c, i) + d, p.head_dim - d); }
  return x;
}
fn keys_of(c: Copied, d: u32) -> array<vec4<f32>, LOADS> {
  var x: array<vec4<f32>, LOADS>;
  for (var i = 0u; i < LOADS; i = i + 1u) { x[i] = load4_k(row_of(c, i) + d, p.head_dim - d); }
  return x;
}
fn values_of(c: Copied, d: u32) -> array<vec4<f32>, LOADS> {
  var x: array<vec4<f32>, LOADS>;
  for (var i = 0u; i < LOADS; i = i + 1u) { x[i] = load4_v(row_of(c, i) + d, p.head_dim - d); }
  return x;
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
  let columns = p.head_dim;
  let line = local / 8u;
  let x = local % 16u;
  let y = local / 16u;
  let from_q = Copied(query_at(batch, first + line, head), 16u * p.heads * columns, query_at(batch, p.queries - 1u, head));
  let last_query = batch * p.queries + p.queries - 1u;
  set_ranges(intervals_of(min(batch * p.queries + first + local % TILE, last_query)), local);
  let visible = workgroupUniformLoad(&any_ranges);
  let common_to_all = workgroupUniformLoad(&all_ranges);

  var sums: array<array<vec4<f32>, ROWS>, SLICES>; // weights·v
  var row_max: array<f32, ROWS>;
  var total: array<f32, ROWS>; // of exp(score - row_max) over this invocation's keys
  for (var i = 0u; i < ROWS; i = i + 1u) { row_max[i] = MASKED; }
  for (var key = 0u; key < p.keys; key = key + 32u) {
    if (!any_visible(visible, key, 32u)) { continue; }
    let from_k = Copied(key_at(batch, key + line, kv), 16u * p.kv_heads * columns, key_at(batch, p.keys - 1u, kv));
    var scores: array<vec4<f32>, ROWS>;
    for (var i = 0u; i < ROWS; i = i + 1u) { scores[i] = vec4<f32>(0.0); }
    var next = queries_of(from_q, column_of(0u, local));
    var next_others = keys_of(from_k, column_of(0u, local));
    for (var d = 0u; d < columns; d = d + 32u) {
      workgroupBarrier();
      store_rows(next, local);
      store_others(next_others, local);
      workgroupBarrier();
      if (d + 32u < columns) {
        next = queries_of(from_q, column_of(d + 32u, local));
        next_others = keys_of(from_k, column_of(d + 32u, local));
      } else {
        next_others = values_of(from_k, column_of(32u * part * SLICES, local));
      }
      scores = with_products(scores, min(8u, (columns - d + 3u) / 4u), local);
    }

    // Online softmax.
    let last = i32(key + 32u);
    let whole = (i32(key) >= common_to_all.x && last <= common_to_all.y) || (i32(key) >= common_to_all.z && last <= common_to_all.w);
    for (var i = 0u; i < ROWS; i = i + 1u) { scores[i] = scores[i] * p.scale; }
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
      for (var n = 0u; n < SLICES; n = n + 1u) { sums[n][i] = sums[n][i] * factor; }
      scores[i] = w;
    }
    store_weights(scores, local);

    let fours = min(8u, (p.keys - key + 3u) / 4u);
    for (var n = 0u; n < SLICES; n = n + 1u) {
      let slice = 32u * (part * SLICES + n);
      if (slice < columns) {
        if (n > 0u) { workgroupBarrier(); }
        store_others(next_others, local);
        workgroupBarrier();
        if (n + 1u < SLICES) { next_others = values_of(from_k, column_of(slice + 32u, local)); }
        sums[n] = with_weighted(sums[n], fours, local);
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
      for (var n = 0u; n < SLICES; n = n + 1u) {
        let d = 32u * (part * SLICES + n) + 4u * y;
        if (d < columns) { store4_y(query_at(batch, query, head) + d, columns - d, sums[n][i] * factor); }
      }
    }
  }
}
