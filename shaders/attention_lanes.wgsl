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
  let t = first + 4u * local; // the first of this invocation's queries
  let rows = queries_at(batch, t, head);
  let ranges = ranges4(batch, t);
  let walk = walk_of(intervals_of_tile(batch, first));

  var row_max = vec4<f32>(MASKED); // of each query's scores
  var total = vec4<f32>(0.0);   // of exp(score - row_max)
  var sums: array<array<mat4x4<f32>, 8>, SLICES>; // weights·v: columns of the head by queries
  for (var tile = walk.first; tile < walk.end; tile = next_of(walk, tile)) {
    let key = 32u * tile;
    let keys = keys_at(batch, key + 4u * local, kv);
    var s = array<mat4x4<f32>, 8>(); // scores: keys by queries
    for (var d = 0u; d < p.head_dim; d = d + 4u) {
      let q = transpose(block_q(rows, d));
      let k = block_k(keys, d);
      for (var i = 0u; i < 8u; i = i + 1u) { s[i] = s[i] + q * from_lane(k, i); }
    }
    var now = row_max;
    for (var i = 0u; i < 8u; i = i + 1u) {
      for (var j = 0u; j < 4u; j = j + 1u) {
        s[i][j] = select(vec4<f32>(MASKED), s[i][j] * p.scale, visible4(ranges, key + 4u * i + j));
        now = max(now, s[i][j]);
      }
    }
    let factor = exp4(row_max - now);
    row_max = now;
    total = total * factor;
    for (var i = 0u; i < 8u; i = i + 1u) {
      for (var j = 0u; j < 4u; j = j + 1u) {
        s[i][j] = select(exp4(s[i][j] - now), vec4<f32>(0.0), s[i][j] == vec4<f32>(MASKED));
        total = total + s[i][j];
      }
      store_own(local, i, s[i]);
    }
    for (var slice = 0u; slice < SLICES; slice = slice + 1u) {
      for (var c = 0u; c < 8u; c = c + 1u) { sums[slice][c] = scaled(sums[slice][c], factor); }
    }
    for (var i = 0u; i < 8u; i = i + 1u) {
      let four = keys_at(batch, key + 4u * i, kv);
      let w = load_own(local, i);
      for (var slice = 0u; slice < SLICES; slice = slice + 1u) {
        let d = 32u * (part * SLICES + slice) + 4u * local;
        let v = transpose(block_v(four, min(d, (p.head_dim - 1u) / 4u * 4u)));
        for (var c = 0u; c < 8u; c = c + 1u) { sums[slice][c] = sums[slice][c] + w * from_lane(v, c); }
      }
    }
  }

  let share = select(vec4<f32>(1.0) / total, vec4<f32>(0.0), total == vec4<f32>(0.0));
  for (var r = 0u; r < 4u; r = r + 1u) {
    if (part == 0u && t + r < p.queries) {
      store_lse((batch * p.queries + t + r) * p.heads + head, select(row_max[r] + log_f32(total[r]), 0.0, total[r] == 0.0));
    }
  }
  for (var slice = 0u; slice < SLICES; slice = slice + 1u) {
    for (var c = 0u; c < 8u; c = c + 1u) {
      let d = 32u * (part * SLICES + slice) + 4u * c;
      let y = transpose(scaled(sums[slice][c], share));
      for (var r = 0u; r < 4u; r = r + 1u) {
        if (d < p.head_dim && t + r < p.queries) { store4_y(rows[r] + d, p.head_dim - d, y[r]); }
      }
    }
  }
}
