// dx, one workgroup per row.
@compute @workgroup_size(GROUP)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) local: u32) {
  let row = group_index(group, groups);
  if (row >= rows() || p.with_x == 0u) { return; }
  let start = row * p.cols;
  let mean = load_mean(row);
  let rstd = load_rstd(row);
  var sum = zero_accumulator();  // of g
  var dot = zero_accumulator(); // of g·x̂
  for (var i = WIDTH * local; i < p.cols; i = i + WIDTH * GROUP) {
    let g = loadv_dy(start + i) * loadv_w(i);
    sum = accumulate(sum, g);
    dot = accumulate(dot, g * ((loadv_x(start + i) - mean) * rstd));
  }
  let mean_g = group_sum(lane_sum(reduce(sum)), local) / f32(p.cols);
  let mean_gx = group_sum(lane_sum(reduce(dot)), local) / f32(p.cols);
  for (var i = WIDTH * local; i < p.cols; i = i + WIDTH * GROUP) {
    let g = loadv_dy(start + i) * loadv_w(i);
    var dx = rstd * (g - mean_g - (loadv_x(start + i) - mean) * rstd * mean_gx);
    if (p.accumulate_x != 0u) { dx = dx + loadv_dx(start + i); }
    storev_dx(start + i, dx);
  }
}

// dw and db of 64 rows, one column per invocation, into scratch [chunks,2,Cols].
@compute @workgroup_size(64)
fn chunks(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
          @builtin(local_invocation_index) local: u32) {
  let at = position(group_index(group, groups), local, p.cols);
  if (at.row >= (p.rows_max + 63u) / 64u || at.col >= p.cols || p.with_w == 0u) { return; }
  let end = min(at.row * 64u + 64u, rows());
  var dw = Vec(0.0);
  var db = Vec(0.0);
  for (var row = at.row * 64u; row < end; row = row + 1u) {
    let i = row * p.cols + at.col;
    let dy = loadv_dy(i);
    dw = dw + dy * ((loadv_x(i) - load_mean(row)) * load_rstd(row));
    db = db + dy;
  }
  storev_scratch(2u * at.row * p.cols + at.col, dw);
  storev_scratch((2u * at.row + 1u) * p.cols + at.col, db);
}

// The sums of the chunks.
@compute @workgroup_size(64)
fn total(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
         @builtin(local_invocation_index) local: u32) {
  let col = WIDTH * (group_index(group, groups) * 64u + local);
  if (col >= p.cols || p.with_w == 0u) { return; }
  var dw = zero_accumulator();
  var db = zero_accumulator();
  for (var i = 0u; i < (rows() + 63u) / 64u; i = i + 1u) {
    dw = accumulate(dw, loadv_scratch(2u * i * p.cols + col));
    db = accumulate(db, loadv_scratch((2u * i + 1u) * p.cols + col));
  }
  storev_dw(col, reduce(dw) + select(Vec(0.0), loadv_dw(col), p.accumulate_w != 0u));
  storev_db(col, reduce(db) + select(Vec(0.0), loadv_db(col), p.accumulate_w != 0u));
}
