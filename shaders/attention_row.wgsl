// For a few queries: a workgroup loops over the keys of one query of one head, 64 at a
// time, first one key per invocation, then one column of v, with online softmax (Milakov
// and Gimelshein, "Online normalizer calculation for softmax", 2018).

var<workgroup> weights: array<f32, GROUP>;

@compute @workgroup_size(GROUP)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) local: u32) {
  let index = group_index(group, groups);
  let head = index % p.heads;
  let row = index / p.heads;
  let batch = row / p.queries;
  if (batch >= p.batch) { return; }
  let kv = head / (p.heads / p.kv_heads);
  let at = index * p.head_dim;
  let ranges = intervals_of(row);

  var sums: array<Vec, COLUMNS>; // weights·v in columns WIDTH·GROUP apart
  var row_max = MASKED;
  var total = 0.0;
  for (var first = 0u; first < p.keys; first = first + GROUP) {
    if (!any_visible(ranges, first, GROUP)) { continue; }
    let key = first + local;
    var score = MASKED;
    if (key < p.keys && is_visible(ranges, key)) {
      let from_k = key_at(batch, key, kv);
      score = 0.0;
      for (var d = 0u; d < p.head_dim; d = d + WIDTH) { score = score + lane_sum(loadv_q(at + d) * loadv_k(from_k + d)); }
      score = score * p.scale;
    }
    let now = max(row_max, group_max(score, local));
    let weight = select(exp_f32(score - now), 0.0, score == MASKED);
    weights[local] = weight;
    let factor = exp_f32(row_max - now);
    total = total * factor + group_sum(weight, local);
    row_max = now;
    for (var i = 0u; i < COLUMNS; i = i + 1u) {
      let d = WIDTH * (local + i * GROUP);
      if (d < p.head_dim) {
        var sum = sums[i] * factor;
        for (var j = 0u; j < min(GROUP, p.keys - first); j = j + 1u) {
          sum = sum + weights[j] * loadv_v(key_at(batch, first + j, kv) + d);
        }
        sums[i] = sum;
      }
    }
    workgroupBarrier();
  }
  if (local == 0u) { store_lse(index, select(row_max + log_f32(total), 0.0, total == 0.0)); }
  for (var i = 0u; i < COLUMNS; i = i + 1u) {
    let d = WIDTH * (local + i * GROUP);
    if (d < p.head_dim) { storev_y(at + d, select(sums[i] / total, Vec(0.0), total == 0.0)); }
  }
}
