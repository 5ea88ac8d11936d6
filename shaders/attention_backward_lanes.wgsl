var<workgroup> own_too: array<vec4<f32>, 256>; // [32][8], as own

// dq of 32 queries and a head: over the tiles of keys, the gradients of the scores times
// k.
@compute @workgroup_size(GROUP)
fn queries(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
           @builtin(local_invocation_index) local: u32) {
  let parts = (p.head_dim + 32u * SLICES - 1u) / (32u * SLICES);
  let across = (p.queries + 31u) / 32u;
  let part = group_index(group, groups) % parts;
  let index = group_index(group, groups) / parts;
  let first = index % across * 32u;
  let head = index / across % p.heads;
  let batch = index / across / p.heads;
  if (batch >= p.batch) { return; }
  let kv = head / (p.heads / p.kv_heads);
  let t = first + 4u * local; // the first of this invocation's queries
  let rows = queries_at(batch, t, head);
  let ranges = ranges4(batch, t);
  let lse = by_query(batch, t, head, 0u);
  let delta = by_query(batch, t, head, 1u);
  let walk = walk_of(ranges_from_scratch(batch, first / 32u));

  var sums: array<array<mat4x4<f32>, 8>, SLICES>; // columns of the head by queries
  for (var tile = walk.first; tile < walk.end; tile = next_of(walk, tile)) {
    let key = 32u * tile;
    let keys = keys_at(batch, key + 4u * local, kv);
    var s = array<mat4x4<f32>, 8>();  // scores: keys by queries
    var dw = array<mat4x4<f32>, 8>(); // gradients of the weights
    for (var d = 0u; d < p.head_dim; d = d + 4u) {
      let q = transpose(block_q(rows, d));
      let dy = transpose(block_dy(rows, d));
      let k = block_k(keys, d);
      let v = block_v(keys, d);
      for (var i = 0u; i < 8u; i = i + 1u) {
        s[i] = s[i] + q * from_lane(k, i);
        dw[i] = dw[i] + dy * from_lane(v, i);
      }
    }
    for (var i = 0u; i < 8u; i = i + 1u) {
      for (var j = 0u; j < 4u; j = j + 1u) {
        let w = select(vec4<f32>(0.0), exp4(s[i][j] * p.scale - lse), visible4(ranges, key + 4u * i + j));
        dw[i][j] = w * (dw[i][j] - delta);
      }
      store_own(local, i, dw[i]);
    }
    for (var i = 0u; i < 8u; i = i + 1u) {
      let four = keys_at(batch, key + 4u * i, kv);
      let ds = load_own(local, i);
      for (var slice = 0u; slice < SLICES; slice = slice + 1u) {
        let k = transpose(block_k(four, column(part, slice, local)));
        for (var c = 0u; c < 8u; c = c + 1u) { sums[slice][c] = sums[slice][c] + ds * from_lane(k, c); }
      }
    }
  }
  for (var slice = 0u; slice < SLICES; slice = slice + 1u) {
    for (var c = 0u; c < 8u; c = c + 1u) {
      let d = 32u * (part * SLICES + slice) + 4u * c;
      let n = p.head_dim - d;
      let sum = transpose(sums[slice][c]);
      for (var r = 0u; r < 4u; r = r + 1u) {
        if (d < p.head_dim && t + r < p.queries) {
          var dq = sum[r] * p.scale;
          if (p.accumulate_q != 0u) { dq = dq + load4_dq(rows[r] + d, n); }
          store4_dq(rows[r] + d, n, dq);
        }
      }
    }
  }
}

// lse, or delta, of four queries.
fn by_query(batch: u32, t: u32, head: u32, which: u32) -> vec4<f32> {
  var x: vec4<f32>;
  for (var r = 0u; r < 4u; r = r + 1u) {
    let at = (batch * p.queries + min(t + r, p.queries - 1u)) * p.heads + head;
    x[r] = select(load_lse(at), load_scratch(at), which == 1u);
  }
  return x;
}

// The columns that an invocation loads for a slice; past the head's end the last.
fn column(part: u32, slice: u32, local: u32) -> u32 {
  return min(32u * (part * SLICES + slice) + 4u * local, (p.head_dim - 1u) / 4u * 4u);
}

// dk and dv of 32 keys of a key head: over the tiles of queries to which any of them is
// visible and the heads that share it.
@compute @workgroup_size(GROUP)
fn keys(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) local: u32) {
  let parts = (p.head_dim + 32u * SLICES - 1u) / (32u * SLICES);
  let across = (p.keys + 31u) / 32u;
  let part = group_index(group, groups) % parts;
  let index = group_index(group, groups) / parts;
  let first = index % across * 32u;
  let kv = index / across % p.kv_heads;
  let batch = index / across / p.kv_heads;
  if (batch >= p.batch) { return; }
  let shared_by = p.heads / p.kv_heads;
  let key = first + 4u * local; // the first of this invocation's keys
  let rows = keys_at(batch, key, kv);
  let four_keys = vec4<i32>(i32(key)) + vec4<i32>(0, 1, 2, 3);
  let tiles = tiles_that_see(batch, first);

  var dk: array<array<mat4x4<f32>, 8>, SLICES>; // columns of the head by keys
  var dv: array<array<mat4x4<f32>, 8>, SLICES>;
  for (var n = tiles.x * shared_by; n < tiles.y * shared_by; n = n + 1u) {
    let t = 32u * (n / shared_by);
    let head = kv * shared_by + n % shared_by;
    let others = queries_at(batch, t + 4u * local, head);
    let ranges = ranges4(batch, t + 4u * local);
    let lse = by_query(batch, t + 4u * local, head, 0u);
    let delta = by_query(batch, t + 4u * local, head, 1u);
    var s = array<mat4x4<f32>, 8>();  // scores: queries by keys
    var dw = array<mat4x4<f32>, 8>(); // gradients of the weights
    for (var d = 0u; d < p.head_dim; d = d + 4u) {
      let k = transpose(block_k(rows, d));
      let v = transpose(block_v(rows, d));
      let q = block_q(others, d);
      let dy = block_dy(others, d);
      for (var i = 0u; i < 8u; i = i + 1u) {
        s[i] = s[i] + k * from_lane(q, i);
        dw[i] = dw[i] + v * from_lane(dy, i);
      }
    }
    for (var i = 0u; i < 8u; i = i + 1u) {
      let by = Ranges4(subgroupShuffle(ranges.x, i), subgroupShuffle(ranges.y, i), subgroupShuffle(ranges.z, i), subgroupShuffle(ranges.w, i));
      let lses = subgroupShuffle(lse, i);
      let deltas = subgroupShuffle(delta, i);
      for (var j = 0u; j < 4u; j = j + 1u) {
        let visible = ((four_keys >= vec4<i32>(by.x[j])) & (four_keys < vec4<i32>(by.y[j]))) |
                      ((four_keys >= vec4<i32>(by.z[j])) & (four_keys < vec4<i32>(by.w[j])));
        let w = select(vec4<f32>(0.0), exp4(s[i][j] * p.scale - vec4<f32>(lses[j])), visible);
        s[i][j] = w;
        dw[i][j] = w * (dw[i][j] - vec4<f32>(deltas[j]));
      }
      store_own(local, i, s[i]);
      for (var j = 0u; j < 4u; j = j + 1u) { own_too[(4u * i + j) * 8u + local] = dw[i][j]; }
    }
    for (var i = 0u; i < 8u; i = i + 1u) {
      let four = queries_at(batch, t + 4u * i, head);
      let w = load_own(local, i);
      let at = 32u * i + local;
      let ds = mat4x4<f32>(own_too[at], own_too[at + 8u], own_too[at + 16u], own_too[at + 24u]);
      for (var slice = 0u; slice < SLICES; slice = slice + 1u) {
        let d = column(part, slice, local);
        let q = transpose(block_q(four, d));
        let dy = transpose(block_dy(four, d));
        for (var c = 0u; c < 8u; c = c + 1u) {
          dk[slice][c] = dk[slice][c] + ds * from_lane(q, c);
          dv[slice][c] = dv[slice][c] + w * from_lane(dy, c);
        }
      }
    }
  }
  for (var slice = 0u; slice < SLICES; slice = slice + 1u) {
    for (var c = 0u; c < 8u; c = c + 1u) {
      let d = 32u * (part * SLICES + slice) + 4u * c;
      let n = p.head_dim - d;
      let all_k = transpose(dk[slice][c]);
      let all_v = transpose(dv[slice][c]);
      for (var r = 0u; r < 4u; r = r + 1u) {
        if (d < p.head_dim && key + r < p.keys) {
          let to = rows[r] + d;
          var k = all_k[r] * p.scale;
          var v = all_v[r];
          if (p.accumulate_k != 0u) { k = k + load4_dk(to, n); }
          if (p.accumulate_v != 0u) { v = v + load4_dv(to, n); }
          store4_dk(to, n, k);
          store4_dv(to, n, v);
        }
      }
    }
  }
}

// The first tile of queries to which any of 32 keys is visible, and the end of the last.
fn tiles_that_see(batch: u32, first: u32) -> vec2<u32> {
  var found = vec2<u32>(NOWHERE, 0u);
  for (var tile = 0u; tile < (p.queries + 31u) / 32u; tile = tile + 1u) {
    if (any_visible(ranges_from_scratch(batch, tile), first, 32u)) { found = vec2<u32>(min(found.x, tile), tile + 1u); }
  }
  return select(vec2<u32>(0u), found, found.y > 0u);
}
