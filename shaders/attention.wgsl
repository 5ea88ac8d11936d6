var<workgroup> ranges: array<vec4<i32>, 32>;     // visible to each query of the tile
var<workgroup> tile_ranges: vec4<i32>;
var<workgroup> weights: array<vec4<f32>, 256>; // [32 queries][8], each 4 keys
var<workgroup> row_max: array<f32, 32>;           // of each query's scores
var<workgroup> total: array<f32, 32>;          // of exp(score - row_max)
var<workgroup> factors: array<f32, 32>;        // of each query's accumulators

fn masked(s: vec4<f32>, query: u32, key: u32) -> vec4<f32> {
  let by = ranges[query];
  let visible = vec4<bool>(is_visible(by, key), is_visible(by, key + 1u), is_visible(by, key + 2u), is_visible(by, key + 3u));
  return select(vec4<f32>(MASKED), s * p.scale, visible);
}

// Computes a query's weights for 32 keys, by online softmax.
fn online_softmax(query: u32, key: u32) {
  var top = vec4<f32>(row_max[query]);
  for (var i = 0u; i < 8u; i = i + 1u) {
    let s = masked(weights[query * 8u + i], query, key + 4u * i);
    weights[query * 8u + i] = s;
    top = max(top, s);
  }
  let now = max(max(top.x, top.y), max(top.z, top.w));
  var sum = vec4<f32>(0.0);
  for (var i = 0u; i < 8u; i = i + 1u) {
    let s = weights[query * 8u + i];
    let e = vec4<f32>(exp_f32(s.x - now), exp_f32(s.y - now), exp_f32(s.z - now), exp_f32(s.w - now));
    let w = select(e, vec4<f32>(0.0), s == vec4<f32>(MASKED));
    weights[query * 8u + i] = w;
    sum = sum + w;
  }
  let factor = exp_f32(row_max[query] - now);
  factors[query] = factor;
  total[query] = total[query] * factor + ((sum.x + sum.y) + (sum.z + sum.w));
  row_max[query] = now;
}

@compute @workgroup_size(GROUP)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) local: u32) {
  let parts = (p.head_dim + 32u * SLICES - 1u) / (32u * SLICES);
  let tiles = (p.queries + 31u) / 32u;
  let part = group_index(group, groups) % parts;
  let index = group_index(group, groups) / parts;
  let first = index % tiles * 32u;
  let head = index / tiles % p.heads;
  let batch = index / tiles / p.heads;
  if (batch >= p.batch) { return; }
  let kv = head / (p.heads / p.kv_heads);
  let x = 4u * (local % SIDE); // the first of this invocation's queries
  let y = 4u * (local / SIDE); // and of its keys, or columns

  for (var i = local; i < 32u; i = i + GROUP) {
    ranges[i] = intervals_of(batch * p.queries + min(first + i, p.queries - 1u));
    row_max[i] = MASKED;
    total[i] = 0.0;
  }
  if (local == 0u) { tile_ranges = intervals_of_tile(batch, first); }
  let any_ranges = workgroupUniformLoad(&tile_ranges);
  var rows: array<vec4<u32>, BLOCKS>;
  for (var r = 0u; r < BLOCKS; r = r + 1u) { rows[r] = queries_at(batch, first + x + 4u * SIDE * r, head); }

  var sums: array<array<array<mat4x4<f32>, BLOCKS>, BLOCKS>, SLICES>; // weights·v: slice, columns, queries
  for (var key = 0u; key < p.keys; key = key + 32u) {
    if (!any_visible(any_ranges, key, 32u)) { continue; }
    var keys: array<vec4<u32>, BLOCKS>;
    for (var c = 0u; c < BLOCKS; c = c + 1u) { keys[c] = keys_at(batch, key + y + 4u * SIDE * c, kv); }
    var s = array<array<mat4x4<f32>, BLOCKS>, BLOCKS>();
    for (var d = 0u; d < p.head_dim; d = d + 4u) {
      var q: array<mat4x4<f32>, BLOCKS>;
      for (var r = 0u; r < BLOCKS; r = r + 1u) { q[r] = block_q(rows[r], d); }
      for (var c = 0u; c < BLOCKS; c = c + 1u) {
        let k = transpose(block_k(keys[c], d));
        for (var r = 0u; r < BLOCKS; r = r + 1u) { s[c][r] = s[c][r] + k * q[r]; }
      }
    }
    for (var c = 0u; c < BLOCKS; c = c + 1u) {
      for (var r = 0u; r < BLOCKS; r = r + 1u) {
        for (var i = 0u; i < 4u; i = i + 1u) { weights[at_weights(x, y, r, c) + 8u * i] = s[c][r][i]; }
      }
    }
    workgroupBarrier();
    for (var i = local; i < 32u; i = i + GROUP) { online_softmax(i, key); }
    workgroupBarrier();
    for (var slice = 0u; slice < SLICES; slice = slice + 1u) {
      for (var c = 0u; c < BLOCKS; c = c + 1u) {
        for (var r = 0u; r < BLOCKS; r = r + 1u) {
          let at = x + 4u * SIDE * r;
          let sum = sums[slice][c][r];
          sums[slice][c][r] = mat4x4<f32>(sum[0] * factors[at], sum[1] * factors[at + 1u], sum[2] * factors[at + 2u], sum[3] * factors[at + 3u]);
        }
      }
    }
    for (var i = 0u; i < 8u; i = i + 1u) {
      let four = keys_at(batch, key + 4u * i, kv);
      var w: array<mat4x4<f32>, BLOCKS>;
      for (var r = 0u; r < BLOCKS; r = r + 1u) {
        let at = at_weights(x, 4u * i, r, 0u);
        w[r] = mat4x4<f32>(weights[at], weights[at + 8u], weights[at + 16u], weights[at + 24u]);
      }
      for (var slice = 0u; slice < SLICES; slice = slice + 1u) {
        for (var c = 0u; c < BLOCKS; c = c + 1u) {
          let d = 32u * (part * SLICES + slice) + y + 4u * SIDE * c;
          if (d < p.head_dim) {
            let v = block_v(four, d);
            for (var r = 0u; r < BLOCKS; r = r + 1u) { sums[slice][c][r] = sums[slice][c][r] + v * w[r]; }
          }
        }
      }
    }
    workgroupBarrier();
  }

  for (var i = local; i < 32u; i = i + GROUP) {
    factors[i] = select(1.0 / total[i], 0.0, total[i] == 0.0);
    if (part == 0u && first + i < p.queries) {
      store_lse((batch * p.queries + first + i) * p.heads + head, select(row_max[i] + log_f32(total[i]), 0.0, total[i] == 0.0));
    }
  }
  workgroupBarrier();
  for (var slice = 0u; slice < SLICES; slice = slice + 1u) {
    for (var c = 0u; c < BLOCKS; c = c + 1u) {
      for (var r = 0u; r < BLOCKS; r = r + 1u) {
        for (var i = 0u; i < 4u; i = i + 1u) { weights[at_weights(x, y, r, c) + 8u * i] = sums[slice][c][r][i]; }
      }
    }
    workgroupBarrier();
    for (var i = local; i < 256u; i = i + GROUP) {
      let query = i / 8u;
      let d = 32u * (part * SLICES + slice) + i % 8u * 4u;
      if (d < p.head_dim && first + query < p.queries) {
        store4_y(query_at(batch, first + query, head) + d, p.head_dim - d, weights[i] * factors[query]);
      }
    }
    workgroupBarrier();
  }
}
