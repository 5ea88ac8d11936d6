// The gradient of attention for GPUs; see include_attention_gpu.wgsl.

var<workgroup> ranges: array<vec4<i32>, 32>; // of a tile of 32 queries
var<workgroup> lses: array<f32, 32>;
var<workgroup> deltas_by: array<f32, 32>;
var<workgroup> tile_ranges: vec4<i32>;

// The intervals of a tile of 32 queries, by way of shared memory, so that WGSL's rules
// count them as the same for the whole workgroup: barriers depend on them.
fn ranges_of_tile(batch: u32, tile: u32, local: u32) -> vec4<i32> {
  if (local == 0u) { tile_ranges = ranges_from_scratch(batch, tile); }
  return workgroupUniformLoad(&tile_ranges);
}

// delta = Σ dy·y of a query and a head, summed in the order of dy·vᵀ, from which it is
// subtracted, so that with one key, where y = v, the difference is exactly 0.
@compute @workgroup_size(GROUP)
fn deltas(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
          @builtin(local_invocation_index) local: u32) {
  let i = group_index(group, groups) * GROUP + local;
  if (i >= p.batch * p.queries * p.heads) { return; }
  var sum = 0.0;
  for (var d = 0u; d < p.head_dim; d = d + 4u) {
    let dy = load4_dy(i * p.head_dim + d, p.head_dim - d);
    let y = load4_y(i * p.head_dim + d, p.head_dim - d);
    sum = sum + dy.x * y.x + dy.y * y.y + dy.z * y.z + dy.w * y.w;
  }
  store_scratch(i, sum);
}

fn rows_q(c: Copied, d: u32) -> array<vec4<f32>, ROWS> {
  var x: array<vec4<f32>, ROWS>;
  for (var i = 0u; i < ROWS; i = i + 1u) { x[i] = load4_q(row_of(c, i) + d, p.head_dim - d); }
  return x;
}
fn rows_dy(c: Copied, d: u32) -> array<vec4<f32>, ROWS> {
  var x: array<vec4<f32>, ROWS>;
  for (var i = 0u; i < ROWS; i = i + 1u) { x[i] = load4_dy(row_of(c, i) + d, p.head_dim - d); }
  return x;
}
fn rows_k(c: Copied, d: u32) -> array<vec4<f32>, ROWS> {
  var x: array<vec4<f32>, ROWS>;
  for (var i = 0u; i < ROWS; i = i + 1u) { x[i] = load4_k(row_of(c, i) + d, p.head_dim - d); }
  return x;
}
fn rows_v(c: Copied, d: u32) -> array<vec4<f32>, ROWS> {
  var x: array<vec4<f32>, ROWS>;
  for (var i = 0u; i < ROWS; i = i + 1u) { x[i] = load4_v(row_of(c, i) + d, p.head_dim - d); }
  return x;
}
fn others_q(c: Copied, d: u32) -> array<vec4<f32>, LOADS> {
  var x: array<vec4<f32>, LOADS>;
  for (var i = 0u; i < LOADS; i = i + 1u) { x[i] = load4_q(row_of(c, i) + d, p.head_dim - d); }
  return x;
}
fn others_dy(c: Copied, d: u32) -> array<vec4<f32>, LOADS> {
  var x: array<vec4<f32>, LOADS>;
  for (var i = 0u; i < LOADS; i = i + 1u) { x[i] = load4_dy(row_of(c, i) + d, p.head_dim - d); }
  return x;
}
fn others_k(c: Copied, d: u32) -> array<vec4<f32>, LOADS> {
  var x: array<vec4<f32>, LOADS>;
  for (var i = 0u; i < LOADS; i = i + 1u) { x[i] = load4_k(row_of(c, i) + d, p.head_dim - d); }
  return x;
}
fn others_v(c: Copied, d: u32) -> array<vec4<f32>, LOADS> {
  var x: array<vec4<f32>, LOADS>;
  for (var i = 0u; i < LOADS; i = i + 1u) { x[i] = load4_v(row_of(c, i) + d, p.head_dim - d); }
  return x;
}

// The number of vec4 in 32 columns from d on.
fn fours_from(d: u32) -> u32 { return min(8u, (p.head_dim - d + 3u) / 4u); }

// dq of TILE queries and a head: over the tiles of keys, the gradients of the scores times
// k.
@compute @workgroup_size(GROUP)
fn queries(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
           @builtin(local_invocation_index) local: u32) {
  let parts = (p.head_dim + 32u * SLICES - 1u) / (32u * SLICES);
  let across = (p.queries + TILE - 1u) / TILE;
  let part = group_index(group, groups) % parts;
  let index = group_index(group, groups) / parts;
  let first = index % across * TILE;
  let head = index / across % p.heads;
  let batch = index / across / p.heads;
  if (batch >= p.batch) { return; }
  let kv = head / (p.heads / p.kv_heads);
  let columns = p.head_dim;
  let line = local / 8u;
  let from_q = Copied(query_at(batch, first + line, head), 16u * p.heads * columns, query_at(batch, p.queries - 1u, head));
  // The intervals of its two tiles of 32.
  let first_ranges = ranges_of_tile(batch, first / 32u, local);
  let last_ranges = ranges_of_tile(batch, min(first / 32u + 1u, (p.queries - 1u) / 32u), local);

  var by: array<vec4<i32>, ROWS>; // the intervals of the invocation's queries
  var lse: array<f32, ROWS>;
  var delta: array<f32, ROWS>;
  for (var i = 0u; i < ROWS; i = i + 1u) {
    let row = batch * p.queries + min(first + local % 16u + 16u * i, p.queries - 1u);
    by[i] = intervals_of(row);
    lse[i] = load_lse(row * p.heads + head);
    delta[i] = load_scratch(row * p.heads + head);
  }
  var sums: array<array<vec4<f32>, ROWS>, SLICES>;
  for (var key = 0u; key < p.keys; key = key + 32u) {
    if (!(any_visible(first_ranges, key, 32u) || any_visible(last_ranges, key, 32u))) { continue; }
    let from_k = Copied(key_at(batch, key + line, kv), 16u * p.kv_heads * columns, key_at(batch, p.keys - 1u, kv));
    var s: array<vec4<f32>, ROWS>;  // scores
    var dw: array<vec4<f32>, ROWS>; // gradients of the weights
    for (var i = 0u; i < ROWS; i = i + 1u) {
      s[i] = vec4<f32>(0.0);
      dw[i] = vec4<f32>(0.0);
    }
    var next = rows_q(from_q, column_of(0u, local));
    var next_others = others_k(from_k, column_of(0u, local));
    for (var d = 0u; d < columns; d = d + 32u) {
      workgroupBarrier();
      store_rows(next, local);
      store_others(next_others, local);
      workgroupBarrier();
      if (d + 32u < columns) {
        next = rows_q(from_q, column_of(d + 32u, local));
        next_others = others_k(from_k, column_of(d + 32u, local));
      } else {
        next = rows_dy(from_q, column_of(0u, local));
        next_others = others_v(from_k, column_of(0u, local));
      }
      s = with_products(s, fours_from(d), local);
    }
    for (var d = 0u; d < columns; d = d + 32u) {
      workgroupBarrier();
      store_rows(next, local);
      store_others(next_others, local);
      workgroupBarrier();
      if (d + 32u < columns) {
        next = rows_dy(from_q, column_of(d + 32u, local));
        next_others = others_v(from_k, column_of(d + 32u, local));
      } else {
        next_others = others_k(from_k, column_of(32u * part * SLICES, local));
      }
      dw = with_products(dw, fours_from(d), local);
    }
    let own = key + 4u * (local / 16u);
    for (var i = 0u; i < ROWS; i = i + 1u) {
      let visible = vec4<bool>(is_visible(by[i], own), is_visible(by[i], own + 1u), is_visible(by[i], own + 2u), is_visible(by[i], own + 3u));
      let w = select(vec4<f32>(0.0), exp4(s[i] * p.scale - lse[i]), visible);
      dw[i] = w * (dw[i] - delta[i]);
    }
    workgroupBarrier();
    store_weights(dw, local);
    let fours = min(8u, (p.keys - key + 3u) / 4u);
    for (var n = 0u; n < SLICES; n = n + 1u) {
      let slice = 32u * (part * SLICES + n);
      if (slice < columns) {
        if (n > 0u) { workgroupBarrier(); }
        store_others(next_others, local);
        workgroupBarrier();
        if (n + 1u < SLICES) { next_others = others_k(from_k, column_of(slice + 32u, local)); }
        sums[n] = with_weighted(sums[n], fours, local);
      }
    }
  }
  for (var i = 0u; i < ROWS; i = i + 1u) {
    let query = first + local % 16u + 16u * i;
    if (query < p.queries) {
      for (var n = 0u; n < SLICES; n = n + 1u) {
        let d = 32u * (part * SLICES + n) + 4u * (local / 16u);
        if (d < columns) {
          let to = query_at(batch, query, head) + d;
          var dq = sums[n][i] * p.scale;
          if (p.accumulate_q != 0u) { dq = dq + load4_dq(to, columns - d); }
          store4_dq(to, columns - d, dq);
        }
      }
    }
  }
}

// dk and dv of TILE keys of a key head: over the tiles of 32 queries to which any of them
// is visible and the heads that share it.
@compute @workgroup_size(GROUP)
fn keys(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) local: u32) {
  let parts = (p.head_dim + 32u * KEY_SLICES - 1u) / (32u * KEY_SLICES);
  let across = (p.keys + TILE - 1u) / TILE;
  let part = group_index(group, groups) % parts;
  let index = group_index(group, groups) / parts;
  let first = index % across * TILE;
  let kv = index / across % p.kv_heads;
  let batch = index / across / p.kv_heads;
  if (batch >= p.batch) { return; }
  let shared_by = p.heads / p.kv_heads;
  let columns = p.head_dim;
  let line = local / 8u;
  let from_k = Copied(key_at(batch, first + line, kv), 16u * p.kv_heads * columns, key_at(batch, p.keys - 1u, kv));

  var dk: array<array<vec4<f32>, ROWS>, KEY_SLICES>;
  var dv: array<array<vec4<f32>, ROWS>, KEY_SLICES>;
  for (var t = 0u; t < p.queries; t = t + 32u) {
    if (!any_visible(ranges_of_tile(batch, t / 32u, local), first, TILE)) { continue; }
    for (var head = kv * shared_by; head < (kv + 1u) * shared_by; head = head + 1u) {
      let from_q = Copied(query_at(batch, t + line, head), 16u * p.heads * columns, query_at(batch, p.queries - 1u, head));
      // No key is visible to queries past the end.
      if (local < 32u) {
        let row = batch * p.queries + min(t + local, p.queries - 1u);
        ranges[local] = select(vec4<i32>(0), intervals_of(row), vec4<bool>(t + local < p.queries));
        lses[local] = load_lse(row * p.heads + head);
        deltas_by[local] = load_scratch(row * p.heads + head);
      }
      var s: array<vec4<f32>, ROWS>;  // scores
      var dw: array<vec4<f32>, ROWS>; // gradients of the weights
      for (var i = 0u; i < ROWS; i = i + 1u) {
        s[i] = vec4<f32>(0.0);
        dw[i] = vec4<f32>(0.0);
      }
      var next = rows_k(from_k, column_of(0u, local));
      var next_others = others_q(from_q, column_of(0u, local));
      for (var d = 0u; d < columns; d = d + 32u) {
        workgroupBarrier();
        store_rows(next, local);
        store_others(next_others, local);
        workgroupBarrier();
        if (d + 32u < columns) {
          next = rows_k(from_k, column_of(d + 32u, local));
          next_others = others_q(from_q, column_of(d + 32u, local));
        } else {
          next = rows_v(from_k, column_of(0u, local));
          next_others = others_dy(from_q, column_of(0u, local));
        }
        s = with_products(s, fours_from(d), local);
      }
      for (var d = 0u; d < columns; d = d + 32u) {
        workgroupBarrier();
        store_rows(next, local);
        store_others(next_others, local);
        workgroupBarrier();
        if (d + 32u < columns) {
          next = rows_v(from_k, column_of(d + 32u, local));
          next_others = others_dy(from_q, column_of(d + 32u, local));
        } else {
          next_others = others_dy(from_q, column_of(32u * part * KEY_SLICES, local));
        }
        dw = with_products(dw, fours_from(d), local);
      }
      let own = 4u * (local / 16u);
      let lse = vec4<f32>(lses[own], lses[own + 1u], lses[own + 2u], lses[own + 3u]);
      let delta = vec4<f32>(deltas_by[own], deltas_by[own + 1u], deltas_by[own + 2u], deltas_by[own + 3u]);
      for (var i = 0u; i < ROWS; i = i + 1u) {
        let key = first + local % 16u + 16u * i;
        let visible = vec4<bool>(is_visible(ranges[own], key), is_visible(ranges[own + 1u], key), is_visible(ranges[own + 2u], key), is_visible(ranges[own + 3u], key));
        s[i] = select(vec4<f32>(0.0), exp4(s[i] * p.scale - lse), visible);
        dw[i] = s[i] * (dw[i] - delta);
      }
      workgroupBarrier();
      store_weights(s, local);
      for (var n = 0u; n < KEY_SLICES; n = n + 1u) {
        let slice = 32u * (part * KEY_SLICES + n);
        if (slice < columns) {
          if (n > 0u) { workgroupBarrier(); }
          store_others(next_others, local);
          workgroupBarrier();
          if (n + 1u < KEY_SLICES && slice + 32u < columns) {
            next_others = others_dy(from_q, column_of(slice + 32u, local));
          } else {
            next_others = others_q(from_q, column_of(32u * part * KEY_SLICES, local));
          }
          dv[n] = with_weighted(dv[n], 8u, local);
        }
      }
      workgroupBarrier();
      store_weights(dw, local);
      for (var n = 0u; n < KEY_SLICES; n = n + 1u) {
        let slice = 32u * (part * KEY_SLICES + n);
        if (slice < columns) {
          if (n > 0u) { workgroupBarrier(); }
          store_others(next_others, local);
          workgroupBarrier();
          if (n + 1u < KEY_SLICES) { next_others = others_q(from_q, column_of(slice + 32u, local)); }
          dk[n] = with_weighted(dk[n], 8u, local);
        }
      }
    }
  }
  for (var i = 0u; i < ROWS; i = i + 1u) {
    let key = first + local % 16u + 16u * i;
    if (key < p.keys) {
      for (var n = 0u; n < KEY_SLICES; n = n + 1u) {
        let d = 32u * (part * KEY_SLICES + n) + 4u * (local / 16u);
        if (d < columns) {
          let to = key_at(batch, key, kv) + d;
          var k = dk[n][i] * p.scale;
          var v = dv[n][i];
          if (p.accumulate_k != 0u) { k = k + load4_dk(to, columns - d); }
          if (p.accumulate_v != 0u) { v = v + load4_dv(to, columns - d); }
          store4_dk(to, columns - d, k);
          store4_dv(to, columns - d, v);
        }
      }
    }
  }
}
