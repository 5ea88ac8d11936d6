var<workgroup> ranges: array<vec4<i32>, 32>;     // visible to each query of the tile
var<workgroup> lses: array<f32, 32>;
var<workgroup> deltas_by: array<f32, 32>;
var<workgroup> tile_ranges: vec4<i32>;
var<workgroup> weights: array<vec4<f32>, 256>; // [32 rows][8], each 4 of the others
var<workgroup> dscores: array<vec4<f32>, 256>;

// The intervals of a tile of 32 queries, by way of shared memory, so that WGSL's rules
// count them as the same for the whole workgroup: barriers depend on them.
fn ranges_of_tile(batch: u32, tile: u32, local: u32) -> vec4<i32> {
  if (local == 0u) { tile_ranges = ranges_from_scratch(batch, tile); }
  return workgroupUniformLoad(&tile_ranges);
}

// Loads what the queries of a tile need into shared memory. No key is visible to those
// past the end.
fn prepare(batch: u32, first: u32, head: u32, local: u32) {
  for (var i = local; i < 32u; i = i + GROUP) {
    let row = batch * p.queries + min(first + i, p.queries - 1u);
    ranges[i] = select(vec4<i32>(0), intervals_of(row), vec4<bool>(first + i < p.queries));
    lses[i] = load_lse(row * p.heads + head);
    deltas_by[i] = load_scratch(row * p.heads + head);
  }
}

// The weight of a score; 0 where the key is not visible to the query.
fn weight(score: f32, query: u32, key: u32) -> f32 {
  return select(0.0, exp_f32(score * p.scale - lses[query]), is_visible(ranges[query], key));
}

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
  let x = 4u * (local % SIDE); // the first of this invocation's queries
  let y = 4u * (local / SIDE); // and of its keys, or columns
  prepare(batch, first, head, local);
  let by_tile = ranges_of_tile(batch, first / 32u, local);
  var rows: array<vec4<u32>, BLOCKS>;
  for (var r = 0u; r < BLOCKS; r = r + 1u) { rows[r] = queries_at(batch, first + x + 4u * SIDE * r, head); }

  var sums: array<array<array<mat4x4<f32>, BLOCKS>, BLOCKS>, SLICES>; // slice, columns, queries
  for (var key = 0u; key < p.keys; key = key + 32u) {
    if (!any_visible(by_tile, key, 32u)) { continue; }
    var keys: array<vec4<u32>, BLOCKS>;
    for (var c = 0u; c < BLOCKS; c = c + 1u) { keys[c] = keys_at(batch, key + y + 4u * SIDE * c, kv); }
    var s = array<array<mat4x4<f32>, BLOCKS>, BLOCKS>();  // scores: keys, queries
    var dw = array<array<mat4x4<f32>, BLOCKS>, BLOCKS>(); // gradients of the weights
    for (var d = 0u; d < p.head_dim; d = d + 4u) {
      var q: array<mat4x4<f32>, BLOCKS>;
      var dy: array<mat4x4<f32>, BLOCKS>;
      for (var r = 0u; r < BLOCKS; r = r + 1u) {
        q[r] = block_q(rows[r], d);
        dy[r] = block_dy(rows[r], d);
      }
      for (var c = 0u; c < BLOCKS; c = c + 1u) {
        let k = transpose(block_k(keys[c], d));
        let v = transpose(block_v(keys[c], d));
        for (var r = 0u; r < BLOCKS; r = r + 1u) {
          s[c][r] = s[c][r] + k * q[r];
          dw[c][r] = dw[c][r] + v * dy[r];
        }
      }
    }
    for (var c = 0u; c < BLOCKS; c = c + 1u) {
      for (var r = 0u; r < BLOCKS; r = r + 1u) {
        for (var i = 0u; i < 4u; i = i + 1u) {
          weights[at_weights(x, y, r, c) + 8u * i] = s[c][r][i];
          dscores[at_weights(x, y, r, c) + 8u * i] = dw[c][r][i];
        }
      }
    }
    workgroupBarrier();
    for (var i = local; i < 256u; i = i + GROUP) {
      let query = i / 8u;
      let one = weights[i];
      let by = key + i % 8u * 4u;
      let w = vec4<f32>(weight(one.x, query, by), weight(one.y, query, by + 1u), weight(one.z, query, by + 2u), weight(one.w, query, by + 3u));
      dscores[i] = w * (dscores[i] - deltas_by[query]);
    }
    workgroupBarrier();
    for (var i = 0u; i < 8u; i = i + 1u) {
      let four = keys_at(batch, key + 4u * i, kv);
      var ds: array<mat4x4<f32>, BLOCKS>;
      for (var r = 0u; r < BLOCKS; r = r + 1u) {
        let at = at_weights(x, 4u * i, r, 0u);
        ds[r] = mat4x4<f32>(dscores[at], dscores[at + 8u], dscores[at + 16u], dscores[at + 24u]);
      }
      for (var slice = 0u; slice < SLICES; slice = slice + 1u) {
        for (var c = 0u; c < BLOCKS; c = c + 1u) {
          let d = 32u * (part * SLICES + slice) + y + 4u * SIDE * c;
          if (d < p.head_dim) {
            let k = block_k(four, d);
            for (var r = 0u; r < BLOCKS; r = r + 1u) { sums[slice][c][r] = sums[slice][c][r] + k * ds[r]; }
          }
        }
      }
    }
    workgroupBarrier();
  }
  for (var slice = 0u; slice < SLICES; slice = slice + 1u) {
    for (var c = 0u; c < BLOCKS; c = c + 1u) {
      for (var r = 0u; r < BLOCKS; r = r + 1u) {
        for (var i = 0u; i < 4u; i = i + 1u) { dscores[at_weights(x, y, r, c) + 8u * i] = sums[slice][c][r][i]; }
      }
    }
    workgroupBarrier();
    for (var i = local; i < 256u; i = i + GROUP) {
      let query = first + i / 8u;
      let d = 32u * (part * SLICES + slice) + i % 8u * 4u;
      if (d < p.head_dim && query < p.queries) {
        let to = query_at(batch, query, head) + d;
        var dq = dscores[i] * p.scale;
        if (p.accumulate_q != 0u) { dq = dq + load4_dq(to, p.head_dim - d); }
        store4_dq(to, p.head_dim - d, dq);
      }
    }
    workgroupBarrier();
  }
}

// dk and dv of 32 keys of a key head: over the heads that share it and the tiles of
// queries to which any of them is visible.
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
  let x = 4u * (local % SIDE); // the first of this invocation's keys
  let y = 4u * (local / SIDE); // and of its queries, or columns
  var rows: array<vec4<u32>, BLOCKS>;
  for (var r = 0u; r < BLOCKS; r = r + 1u) { rows[r] = keys_at(batch, first + x + 4u * SIDE * r, kv); }

  var dk: array<array<array<mat4x4<f32>, BLOCKS>, BLOCKS>, SLICES>; // slice, columns, keys
  var dv: array<array<array<mat4x4<f32>, BLOCKS>, BLOCKS>, SLICES>;
  for (var t = 0u; t < p.queries; t = t + 32u) {
    if (!any_visible(ranges_of_tile(batch, t / 32u, local), first, 32u)) { continue; }
    for (var head = kv * shared_by; head < (kv + 1u) * shared_by; head = head + 1u) {
      prepare(batch, t, head, local);
      var others: array<vec4<u32>, BLOCKS>;
      for (var c = 0u; c < BLOCKS; c = c + 1u) { others[c] = queries_at(batch, t + y + 4u * SIDE * c, head); }
      var s = array<array<mat4x4<f32>, BLOCKS>, BLOCKS>();  // scores: queries, keys
      var dw = array<array<mat4x4<f32>, BLOCKS>, BLOCKS>(); // gradients of the weights
      for (var d = 0u; d < p.head_dim; d = d + 4u) {
        var k: array<mat4x4<f32>, BLOCKS>;
        var v: array<mat4x4<f32>, BLOCKS>;
        for (var r = 0u; r < BLOCKS; r = r + 1u) {
          k[r] = block_k(rows[r], d);
          v[r] = block_v(rows[r], d);
        }
        for (var c = 0u; c < BLOCKS; c = c + 1u) {
          let q = transpose(block_q(others[c], d));
          let dy = transpose(block_dy(others[c], d));
          for (var r = 0u; r < BLOCKS; r = r + 1u) {
            s[c][r] = s[c][r] + q * k[r];
            dw[c][r] = dw[c][r] + dy * v[r];
          }
        }
      }
      for (var c = 0u; c < BLOCKS; c = c + 1u) {
        for (var r = 0u; r < BLOCKS; r = r + 1u) {
          for (var i = 0u; i < 4u; i = i + 1u) {
            weights[at_weights(x, y, r, c) + 8u * i] = s[c][r][i];
            dscores[at_weights(x, y, r, c) + 8u * i] = dw[c][r][i];
          }
        }
      }
      workgroupBarrier();
      for (var i = local; i < 256u; i = i + GROUP) {
        let key = first + i / 8u;
        let by = i % 8u * 4u;
        let one = weights[i];
        let w = vec4<f32>(weight(one.x, by, key), weight(one.y, by + 1u, key), weight(one.z, by + 2u, key), weight(one.w, by + 3u, key));
        weights[i] = w;
        dscores[i] = w * (dscores[i] - vec4<f32>(deltas_by[by], deltas_by[by + 1u], deltas_by[by + 2u], deltas_by[by + 3u]));
      }
      workgroupBarrier();
      for (var i = 0u; i < 8u; i = i + 1u) {
        let four = queries_at(batch, t + 4u * i, head);
        var w: array<mat4x4<f32>, BLOCKS>;
        var ds: array<mat4x4<f32>, BLOCKS>;
        for (var r = 0u; r < BLOCKS; r = r + 1u) {
          let at = at_weights(x, 4u * i, r, 0u);
          w[r] = mat4x4<f32>(weights[at], weights[at + 8u], weights[at + 16u], weights[at + 24u]);
          ds[r] = mat4x4<f32>(dscores[at], dscores[at + 8u], dscores[at + 16u], dscores[at + 24u]);
        }
        for (var slice = 0u; slice < SLICES; slice = slice + 1u) {
          for (var c = 0u; c < BLOCKS; c = c + 1u) {
            let d = 32u * (part * SLICES + slice) + y + 4u * SIDE * c;
            if (d < p.head_dim) {
              let q = block_q(four, d);
              let dy = block_dy(four, d);
              for (var r = 0u; r < BLOCKS; r = r + 1u) {
                dk[slice][c][r] = dk[slice][c][r] + q * ds[r];
                dv[slice][c][r] = dv[slice][c][r] + dy * w[r];
              }
            }
          }
        }
      }
      workgroupBarrier();
    }
  }
  for (var slice = 0u; slice < SLICES; slice = slice + 1u) {
    for (var c = 0u; c < BLOCKS; c = c + 1u) {
      for (var r = 0u; r < BLOCKS; r = r + 1u) {
        for (var i = 0u; i < 4u; i = i + 1u) {
          weights[at_weights(x, y, r, c) + 8u * i] = dv[slice][c][r][i];
          dscores[at_weights(x, y, r, c) + 8u * i] = dk[slice][c][r][i];
        }
      }
    }
    workgroupBarrier();
    for (var i = local; i < 256u; i = i + GROUP) {
      let key = first + i / 8u;
      let d = 32u * (part * SLICES + slice) + i % 8u * 4u;
      if (d < p.head_dim && key < p.keys) {
        let n = p.head_dim - d;
        let to = key_at(batch, key, kv) + d;
        var k = dscores[i] * p.scale;
        var v = weights[i];
        if (p.accumulate_k != 0u) { k = k + load4_dk(to, n); }
        if (p.accumulate_v != 0u) { v = v + load4_dv(to, n); }
        store4_dk(to, n, k);
        store4_dv(to, n, v);
      }
    }
    workgroupBarrier();
  }
}
