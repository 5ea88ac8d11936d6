// For a few queries: a workgroup loops over the keys of one query of one head, SPAN at a
// time, first one key per invocation, then the columns of v, with online softmax
// (Milakov and Gimelshein, "Online normalizer calculation for softmax", 2018). An
// invocation has the columns that it loads together, and COLUMNS of these GROUP apart;
// where a row takes fewer lanes than GROUP, slices of the keys are summed in parallel.
const BLOCK: u32 = 64u; // keys that are skipped together where none is visible

var<workgroup> weights: array<f32, SPAN>;
var<workgroup> row_ranges: vec4<i32>; // by WGSL's rules barriers cannot depend on what only storage holds

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
  if (local == 0u) { row_ranges = intervals_of(row); }
  let ranges = workgroupUniformLoad(&row_ranges);
  let lanes = lanes_of_row();
  let slices = GROUP / lanes;
  let slice = local / lanes;
  let column = LOAD * (local % lanes);

  var sums: array<Columns, COLUMNS>; // weights·v
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
        for (var d = 0u; d < p.head_dim; d = d + LOAD) { score = score + dot_columns(columns_q(at + d), columns_k(from_k + d)); }
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
    for (var i = 0u; i < COLUMNS; i = i + 1u) {
      let d = column + i * (LOAD * GROUP);
      if (d < p.head_dim) {
        var sum = sums[i] * factor;
        for (var block = 0u; block < SPAN; block = block + BLOCK) {
          if (any_visible(ranges, first + block, BLOCK)) {
            for (var j = block + slice; j < block + BLOCK; j = j + slices) {
              sum = sum + weights[j] * columns_v(key_at(batch, first + j, kv) + d);
            }
          }
        }
        sums[i] = sum;
      }
    }
    workgroupBarrier();
  }
  if (local == 0u) { store_lse(index, select(row_max + log_f32(total), 0.0, total == 0.0)); }
  for (var i = 0u; i < COLUMNS; i = i + 1u) {
    let d = column + i * (LOAD * GROUP);
    let y = add_slices(sums[i], local, lanes);
    if (slice == 0u && d < p.head_dim) { store_columns(at + d, select(y / total, Columns(0.0), total == 0.0)); }
  }
}
