// For a few queries: a workgroup takes one query of one head through 64 keys at
// a time, first an invocation a key, then an invocation a column of v, with the
// softmax as it goes (Milakov and Gimelshein, "Online normalizer calculation for
// softmax", 2018).

const HIDDEN: f32 = -3.0e38; // the score of a key that the query does not see

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
  let seen = intervals_of(row);

  var sums: array<f32, COLUMNS>; // weights·v in columns GROUP apart
  var most = HIDDEN;
  var total = 0.0;
  for (var first = 0u; first < p.keys; first = first + GROUP) {
    if (!sees_keys(seen, first, GROUP)) { continue; }
    let key = first + local;
    var score = HIDDEN;
    if (key < p.keys && sees(seen, key)) {
      let from_k = key_at(batch, key, kv);
      score = 0.0;
      for (var d = 0u; d < p.head_dim; d = d + 1u) { score = score + load_q(at + d) * load_k(from_k + d); }
      score = score * p.scale;
    }
    let now = max(most, group_max(score, local));
    let weight = select(exp_f32(score - now), 0.0, score == HIDDEN);
    weights[local] = weight;
    let factor = exp_f32(most - now);
    total = total * factor + group_sum(weight, local);
    most = now;
    for (var i = 0u; i < COLUMNS; i = i + 1u) {
      let d = local + i * GROUP;
      if (d < p.head_dim) {
        var sum = sums[i] * factor;
        for (var j = 0u; j < min(GROUP, p.keys - first); j = j + 1u) {
          sum = sum + weights[j] * load_v(key_at(batch, first + j, kv) + d);
        }
        sums[i] = sum;
      }
    }
    workgroupBarrier();
  }
  if (local == 0u) { store_lse(index, select(most + log_f32(total), 0.0, total == 0.0)); }
  for (var i = 0u; i < COLUMNS; i = i + 1u) {
    let d = local + i * GROUP;
    if (d < p.head_dim) { store_y(at + d, select(sums[i] / total, 0.0, total == 0.0)); }
  }
}
