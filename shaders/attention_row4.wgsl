// As attention_row, for GPUs and heads of a multiple of 4 columns: a workgroup loops over
// the keys of one query of one head, SPAN at a time, first one key per invocation, then
// one quad of a row of v, several rows in parallel. Few workgroups run in decoding, so
// that their latency matters.
const SPAN: u32 = 1024u;
const BLOCK: u32 = 64u; // keys that are skipped together where none is visible

var<workgroup> weights: array<f32, SPAN>;
var<workgroup> partial: array<vec4<f32>, GROUP>;

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
  let quads = p.head_dim / 4u;
  let slices = GROUP / quads;
  let slice = local / quads;
  let column = local % quads * 4u;

  var sum = vec4<f32>(0.0);
  var row_max = MASKED;
  var total = 0.0;
  for (var first = 0u; first < p.keys; first = first + SPAN) {
    if (!any_visible(ranges, first, SPAN)) { continue; }
    var own = MASKED;
    for (var i = local; i < SPAN; i = i + GROUP) {
      let key = first + i;
      var score = MASKED;
      if (key < p.keys && is_visible(ranges, key)) {
        let from_k = key_at(batch, key, kv);
        score = 0.0;
        for (var d = 0u; d < p.head_dim; d = d + 4u) { score = score + dot(load4_q(at + d, 4u), load4_k(from_k + d, 4u)); }
        score = score * p.scale;
      }
      weights[i] = score;
      own = max(own, score);
    }
    let now = max(row_max, group_max(own, local));
    var share = 0.0;
    for (var i = local; i < SPAN; i = i + GROUP) {
      let weight = select(exp_f32(weights[i] - now), 0.0, weights[i] == MASKED);
      weights[i] = weight;
      share = share + weight;
    }
    let factor = exp_f32(row_max - now);
    total = total * factor + group_sum(share, local);
    row_max = now;
    sum = sum * factor;
    for (var block = 0u; block < SPAN; block = block + BLOCK) {
      if (!any_visible(ranges, first + block, BLOCK)) { continue; }
      for (var j = block + slice; j < block + BLOCK; j = j + slices) {
        sum = sum + weights[j] * load4_v(key_at(batch, first + j, kv) + column, 4u);
      }
    }
    workgroupBarrier();
  }
  partial[local] = sum;
  workgroupBarrier();
  if (local == 0u) { store_lse(index, select(row_max + log_f32(total), 0.0, total == 0.0)); }
  if (slice == 0u) {
    var y = vec4<f32>(0.0);
    for (var s = 0u; s < slices; s = s + 1u) { y = y + partial[s * quads + local]; }
    store4_y(at + column, 4u, select(y / total, vec4<f32>(0.0), total == 0.0));
  }
}
