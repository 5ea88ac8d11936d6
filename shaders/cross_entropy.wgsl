// A logit after the soft cap, which is 0 for none.
fn capped(i: u32) -> f32 {
  let x = load_logits(i);
  if (p.cap == 0.0) { return x; }
  return p.cap * tanh_f32(x / p.cap);
}

// The derivative of the soft cap at its value.
fn cap_slope(y: f32) -> f32 {
  if (p.cap == 0.0) { return 1.0; }
  let t = y / p.cap;
  return 1.0 - t * t;
}

var<workgroup> target_id: i32; // by WGSL's rules barriers cannot depend on what only storage holds

@compute @workgroup_size(GROUP)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) local: u32) {
  let row = group_index(group, groups);
  if (row >= rows()) { return; }
  let start = row * p.ld;
  let end = start + p.cols;
  if (local == 0u) { target_id = load_targets(p.base + row); }
  let id = workgroupUniformLoad(&target_id);
  if (id < 0) {
    if (local == 0u) { store_nll(p.base + row, 0.0); }
    if (p.grad != 0u) {
      for (var i = start + local; i < end; i = i + GROUP) { store_logits(i, 0.0); }
    }
    return;
  }
  let hit = start + u32(id);
  let right = capped(hit);
  var row_max = right;
  for (var i = start + local; i < end; i = i + GROUP) { row_max = max(row_max, capped(i)); }
  row_max = group_max(row_max, local);
  var sum = zero_accumulator();
  for (var i = start + local; i < end; i = i + GROUP) { sum = accumulate(sum, exp_f32(capped(i) - row_max)); }
  let total = group_sum(reduce(sum), local);
  if (local == 0u) { store_nll(p.base + row, log_f32(total) + (row_max - right)); }
  if (p.grad == 0u) { return; }
  var scale = p.scale;
  if (p.scale_slot != 0u) { scale = scale * step_f32(p.scale_slot); }
  let factor = scale / total;
  for (var i = start + local; i < end; i = i + GROUP) {
    let y = capped(i);
    store_logits(i, cap_slope(y) * (exp_f32(y - row_max) * factor - select(0.0, scale, i == hit)));
  }
}
