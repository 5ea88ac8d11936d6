// Scratch: delta [B,Tq,H], then the intervals of every tile of queries, as floats.

var<workgroup> weights: array<vec4<f32>, 256>;  // [32 rows][8], each 4 of the others
var<workgroup> dscores: array<vec4<f32>, 256>;

fn block_y(at: vec4<u32>, d: u32) -> mat4x4<f32> {
  let n = p.head_dim - d;
  return mat4x4<f32>(load4_y(at.x + d, n), load4_y(at.y + d, n), load4_y(at.z + d, n), load4_y(at.w + d, n));
}
fn block_dy(at: vec4<u32>, d: u32) -> mat4x4<f32> {
  let n = p.head_dim - d;
  return mat4x4<f32>(load4_dy(at.x + d, n), load4_dy(at.y + d, n), load4_dy(at.z + d, n), load4_dy(at.w + d, n));
}

// delta = Σ dy·y of four queries and a head, as the diagonal of a block: summed
// in the order of dy·vᵀ, from which it is taken, so that with one key, where y
// is v, nothing is left.
@compute @workgroup_size(64)
fn deltas(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
          @builtin(local_invocation_index) local: u32) {
  let i = group_index(group, groups) * 64u + local;
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
@compute @workgroup_size(64)
fn tiles(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
         @builtin(local_invocation_index) local: u32) {
  let i = group_index(group, groups) * 64u + local;
  let across = (p.queries + 31u) / 32u;
  let batch = i / across;
  if (batch >= p.batch) { return; }
  let seen = intervals_of_tile(batch, i % across * 32u);
  let at = tile_at(batch, i % across);
  store_scratch(at, f32(seen.x));
  store_scratch(at + 1u, f32(seen.y));
  store_scratch(at + 2u, f32(seen.z));
  store_scratch(at + 3u, f32(seen.w));
}

fn seen_from_scratch(batch: u32, tile: u32) -> vec4<i32> {
  let at = tile_at(batch, tile);
  return vec4<i32>(vec4<f32>(load_scratch(at), load_scratch(at + 1u), load_scratch(at + 2u), load_scratch(at + 3u)));
}

// What a query needs to turn its scores into weights and gradients.
struct Query { seen: vec4<i32>, lse: f32, delta: f32 }
fn query_of(batch: u32, t: u32, head: u32) -> Query {
  let row = batch * p.queries + min(t, p.queries - 1u);
  var seen = intervals_of(row);
  if (t >= p.queries) { seen = vec4<i32>(0); }
  return Query(seen, load_lse(row * p.heads + head), load_scratch(row * p.heads + head));
}

fn weight(q: Query, score: f32, key: u32) -> f32 {
  return select(0.0, exp_f32(score * p.scale - q.lse), sees(q.seen, key));
}
fn weights_of(q: Query, s: vec4<f32>, key: u32) -> vec4<f32> {
  return vec4<f32>(weight(q, s.x, key), weight(q, s.y, key + 1u), weight(q, s.z, key + 2u), weight(q, s.w, key + 3u));
}

// dq of 32 queries and a head: over the tiles of keys, the gradients of the
// scores and their products with k.
@compute @workgroup_size(64)
fn queries(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
           @builtin(local_invocation_index) local: u32) {
  let across = (p.queries + 31u) / 32u;
  let parts = (p.head_dim + 32u * SLICES - 1u) / (32u * SLICES);
  let index = group_index(group, groups) / parts;
  let column = group_index(group, groups) % parts * 32u * SLICES + local / 8u * 4u;
  let first = index % across * 32u;
  let head = index / across % p.heads;
  let batch = index / across / p.heads;
  if (batch >= p.batch) { return; }
  let kv = head / (p.heads / p.kv_heads);
  let query = local % 8u * 4u;
  let at = queries_at(batch, first + query, head);
  let q0 = query_of(batch, first + query, head);
  let q1 = query_of(batch, first + query + 1u, head);
  let q2 = query_of(batch, first + query + 2u, head);
  let q3 = query_of(batch, first + query + 3u, head);
  let seen = seen_from_scratch(batch, first / 32u);

  var sums: array<mat4x4<f32>, SLICES>;
  for (var key = 0u; key < p.keys; key = key + 32u) {
    if (!sees_keys(seen, key, 32u)) { continue; }
    let mine = key + local / 8u * 4u;
    let keys = keys_at(batch, mine, kv);
    var s = mat4x4<f32>();
    var dw = mat4x4<f32>();
    for (var d = 0u; d < p.head_dim; d = d + 4u) {
      s = s + transpose(block_k(keys, d)) * block_q(at, d);
      dw = dw + transpose(block_v(keys, d)) * block_dy(at, d);
    }
    let to = query * 8u + local / 8u;
    dscores[to] = weights_of(q0, s[0], mine) * (dw[0] - q0.delta);
    dscores[to + 8u] = weights_of(q1, s[1], mine) * (dw[1] - q1.delta);
    dscores[to + 16u] = weights_of(q2, s[2], mine) * (dw[2] - q2.delta);
    dscores[to + 24u] = weights_of(q3, s[3], mine) * (dw[3] - q3.delta);
    workgroupBarrier();
    for (var slice = 0u; slice < SLICES; slice = slice + 1u) {
      let d = column + 32u * slice;
      if (d < p.head_dim) {
        var sum = sums[slice];
        for (var i = 0u; i < 8u; i = i + 1u) {
          let ds = mat4x4<f32>(dscores[query * 8u + i], dscores[query * 8u + 8u + i], dscores[query * 8u + 16u + i], dscores[query * 8u + 24u + i]);
          sum = sum + block_k(keys_at(batch, key + 4u * i, kv), d) * ds;
        }
        sums[slice] = sum;
      }
    }
    workgroupBarrier();
  }
  for (var slice = 0u; slice < SLICES; slice = slice + 1u) {
    let d = column + 32u * slice;
    if (d < p.head_dim) {
      for (var i = 0u; i < 4u; i = i + 1u) {
        if (first + query + i < p.queries) {
          let to = query_at(batch, first + query + i, head) + d;
          var dq = sums[slice][i] * p.scale;
          if (p.accumulate_q != 0u) { dq = dq + load4_dq(to, p.head_dim - d); }
          store4_dq(to, p.head_dim - d, dq);
        }
      }
    }
  }
}

// dk and dv of 32 keys of a key head: over the heads that read it and the tiles
// of queries that see any of them.
@compute @workgroup_size(64)
fn keys(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) local: u32) {
  let across = (p.keys + 31u) / 32u;
  let parts = (p.head_dim + 32u * SLICES - 1u) / (32u * SLICES);
  let index = group_index(group, groups) / parts;
  let column = group_index(group, groups) % parts * 32u * SLICES + local / 8u * 4u;
  let first = index % across * 32u;
  let kv = index / across % p.kv_heads;
  let batch = index / across / p.kv_heads;
  if (batch >= p.batch) { return; }
  let shared_by = p.heads / p.kv_heads;
  let key = local % 8u * 4u;
  let at = keys_at(batch, first + key, kv);

  var dk: array<mat4x4<f32>, SLICES>;
  var dv: array<mat4x4<f32>, SLICES>;
  for (var t = 0u; t < p.queries; t = t + 32u) {
    if (!sees_keys(seen_from_scratch(batch, t / 32u), first, 32u)) { continue; }
    for (var head = kv * shared_by; head < (kv + 1u) * shared_by; head = head + 1u) {
      let mine = t + local / 8u * 4u;
      let rows = queries_at(batch, mine, head);
      var s = mat4x4<f32>();
      var dw = mat4x4<f32>();
      for (var d = 0u; d < p.head_dim; d = d + 4u) {
        s = s + transpose(block_k(at, d)) * block_q(rows, d);
        dw = dw + transpose(block_v(at, d)) * block_dy(rows, d);
      }
      let q0 = query_of(batch, mine, head);
      let q1 = query_of(batch, mine + 1u, head);
      let q2 = query_of(batch, mine + 2u, head);
      let q3 = query_of(batch, mine + 3u, head);
      let w = mat4x4<f32>(weights_of(q0, s[0], first + key), weights_of(q1, s[1], first + key), weights_of(q2, s[2], first + key), weights_of(q3, s[3], first + key));
      var ds = transpose(mat4x4<f32>(w[0] * (dw[0] - q0.delta), w[1] * (dw[1] - q1.delta), w[2] * (dw[2] - q2.delta), w[3] * (dw[3] - q3.delta)));
      var wt = transpose(w);
      let to = key * 8u + local / 8u;
      for (var i = 0u; i < 4u; i = i + 1u) {
        weights[to + 8u * i] = wt[i];
        dscores[to + 8u * i] = ds[i];
      }
      workgroupBarrier();
      for (var slice = 0u; slice < SLICES; slice = slice + 1u) {
        let d = column + 32u * slice;
        if (d < p.head_dim) {
          var sum_k = dk[slice];
          var sum_v = dv[slice];
          for (var i = 0u; i < 8u; i = i + 1u) {
            let block = key * 8u + i;
            let four = queries_at(batch, t + 4u * i, head);
            sum_k = sum_k + block_q(four, d) * mat4x4<f32>(dscores[block], dscores[block + 8u], dscores[block + 16u], dscores[block + 24u]);
            sum_v = sum_v + block_dy(four, d) * mat4x4<f32>(weights[block], weights[block + 8u], weights[block + 16u], weights[block + 24u]);
          }
          dk[slice] = sum_k;
          dv[slice] = sum_v;
        }
      }
      workgroupBarrier();
    }
  }
  for (var slice = 0u; slice < SLICES; slice = slice + 1u) {
    let d = column + 32u * slice;
    if (d < p.head_dim) {
      for (var i = 0u; i < 4u; i = i + 1u) {
        if (first + key + i < p.keys) {
          let n = p.head_dim - d;
          let to = key_at(batch, first + key + i, kv) + d;
          var k = dk[slice][i] * p.scale;
          var v = dv[slice][i];
          if (p.accumulate_k != 0u) { k = k + load4_dk(to, n); }
          if (p.accumulate_v != 0u) { v = v + load4_dv(to, n); }
          store4_dk(to, n, k);
          store4_dv(to, n, v);
        }
      }
    }
  }
}
