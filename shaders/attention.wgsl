const HIDDEN: f32 = -3.0e38; // the score of a key that the query does not see

var<workgroup> seen_by_tile: vec4<i32>;
var<workgroup> weights: array<vec4<f32>, 256>; // [32 queries][8], each 4 keys
var<workgroup> factors: array<f32, 32>;        // of what each query has summed up

// The scores of 4 keys for each of 4 queries.
fn scores(queries: vec4<u32>, keys: vec4<u32>) -> mat4x4<f32> {
  var s = mat4x4<f32>();
  for (var d = 0u; d < p.head_dim; d = d + 4u) { s = s + transpose(block_k(keys, d)) * block_q(queries, d); }
  return s;
}

fn masked(s: vec4<f32>, seen: vec4<i32>, key: u32) -> vec4<f32> {
  let visible = vec4<bool>(sees(seen, key), sees(seen, key + 1u), sees(seen, key + 2u), sees(seen, key + 3u));
  return select(vec4<f32>(HIDDEN), s * p.scale, visible);
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) local: u32) {
  let tiles = (p.queries + 31u) / 32u;
  let parts = (p.head_dim + 32u * SLICES - 1u) / (32u * SLICES);
  let index = group_index(group, groups) / parts;
  let part = group_index(group, groups) % parts;
  let first = index % tiles * 32u;
  let head = index / tiles % p.heads;
  let batch = index / tiles / p.heads;
  if (batch >= p.batch) { return; }
  let kv = head / (p.heads / p.kv_heads);

  // This invocation's four queries; local / 8 is its block of four keys or columns.
  let query = local % 8u * 4u;
  let column = part * 32u * SLICES + local / 8u * 4u;
  let queries = queries_at(batch, first + query, head);
  let row = batch * p.queries;
  let last = p.queries - 1u;
  let seen0 = intervals_of(row + min(first + query, last));
  let seen1 = intervals_of(row + min(first + query + 1u, last));
  let seen2 = intervals_of(row + min(first + query + 2u, last));
  let seen3 = intervals_of(row + min(first + query + 3u, last));
  if (local == 0u) { seen_by_tile = intervals_of_tile(batch, first); }
  workgroupBarrier();
  let seen = seen_by_tile;

  var sums: array<mat4x4<f32>, SLICES>; // weights·v: 4 columns of each of the 4 queries
  var most = HIDDEN; // of the scores of query `local`, for the first 32 invocations
  var total = 0.0;   // of exp(score - most)
  for (var key = 0u; key < p.keys; key = key + 32u) {
    if (!sees_keys(seen, key, 32u)) { continue; }
    let mine = key + local / 8u * 4u;
    let s = scores(queries, keys_at(batch, mine, kv));
    weights[query * 8u + local / 8u] = masked(s[0], seen0, mine);
    weights[query * 8u + 8u + local / 8u] = masked(s[1], seen1, mine);
    weights[query * 8u + 16u + local / 8u] = masked(s[2], seen2, mine);
    weights[query * 8u + 24u + local / 8u] = masked(s[3], seen3, mine);
    workgroupBarrier();
    if (local < 32u) {
      var top = vec4<f32>(most);
      for (var i = 0u; i < 8u; i = i + 1u) { top = max(top, weights[local * 8u + i]); }
      let now = max(max(top.x, top.y), max(top.z, top.w));
      var sum = vec4<f32>(0.0);
      for (var i = 0u; i < 8u; i = i + 1u) {
        let x = weights[local * 8u + i];
        let e = vec4<f32>(exp_f32(x.x - now), exp_f32(x.y - now), exp_f32(x.z - now), exp_f32(x.w - now));
        let w = select(vec4<f32>(0.0), e, x > vec4<f32>(HIDDEN));
        weights[local * 8u + i] = w;
        sum = sum + w;
      }
      factors[local] = exp_f32(most - now);
      total = total * factors[local] + ((sum.x + sum.y) + (sum.z + sum.w));
      most = now;
    }
    workgroupBarrier();
    for (var slice = 0u; slice < SLICES; slice = slice + 1u) {
      let d = column + 32u * slice;
      if (d < p.head_dim) {
        var sum = sums[slice];
        sum = mat4x4<f32>(sum[0] * factors[query], sum[1] * factors[query + 1u], sum[2] * factors[query + 2u], sum[3] * factors[query + 3u]);
        for (var i = 0u; i < 8u; i = i + 1u) {
          let w = mat4x4<f32>(weights[query * 8u + i], weights[query * 8u + 8u + i], weights[query * 8u + 16u + i], weights[query * 8u + 24u + i]);
          sum = sum + block_v(keys_at(batch, key + 4u * i, kv), d) * w;
        }
        sums[slice] = sum;
      }
    }
    workgroupBarrier();
  }

  if (local < 32u) {
    factors[local] = select(0.0, 1.0 / total, total > 0.0);
    if (part == 0u && first + local < p.queries) {
      store_lse((row + first + local) * p.heads + head, select(0.0, most + log_f32(total), total > 0.0));
    }
  }
  workgroupBarrier();
  for (var slice = 0u; slice < SLICES; slice = slice + 1u) {
    let d = column + 32u * slice;
    if (d < p.head_dim) {
      for (var i = 0u; i < 4u; i = i + 1u) {
        if (first + query + i < p.queries) {
          store4_y(query_at(batch, first + query + i, head) + d, p.head_dim - d, sums[slice][i] * factors[query + i]);
        }
      }
    }
  }
}
