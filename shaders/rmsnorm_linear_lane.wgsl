// On a software device a first pass normalises the rows into scratch.
@compute @workgroup_size(GROUP)
fn norm(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) local: u32) {
  let row = group_index(group, groups);
  if (row >= p.rows) { return; }
  let start = row * p.k;
  var squares = vec4<f32>(0.0);
  for (var i = 4u * local; i < p.k; i = i + 4u * GROUP) {
    let x = load4_x(start + i, 4u);
    squares = squares + x * x;
  }
  let rstd = 1.0 / sqrt(group_sum(dot(squares, vec4<f32>(1.0)), local) / f32(p.k) + p.eps);
  for (var i = 4u * local; i < p.k; i = i + 4u * GROUP) {
    store4_scratch(start + i, 4u, load4_x(start + i, 4u) * rstd * load4_gain(i, 4u));
  }
}

// An invocation computes COLS columns of a row of y, every GROUPth column or pair of
// columns, and reads its weights once, 4 terms at a time.
fn column(c: u32) -> u32 { return c / WIDTH * WIDTH * GROUP + c % WIDTH; }

@compute @workgroup_size(GROUP)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) local: u32) {
  let index = group_index(group, groups);
  let across = (p.n + GROUP * COLS - 1u) / (GROUP * COLS);
  let row = index / across;
  if (row >= p.rows) { return; }
  let col = index % across * GROUP * COLS + WIDTH * local;
  let start = row * p.k;
  var at: array<u32, COLS>; // columns past the end load the last one, and are not stored
  for (var c = 0u; c < COLS; c = c + 1u) { at[c] = min(col + column(c), p.n - 1u) * p.k; }
  var gates: array<vec4<f32>, COLS>;
  for (var i = 0u; i < p.k; i = i + 4u) {
    let terms = load4_scratch(start + i, 4u);
    for (var c = 0u; c < COLS; c = c + 1u) { gates[c] = gates[c] + terms * load4_w(at[c] + i, 4u); }
  }
  var ups: array<vec4<f32>, COLS>;
  if (p.gated != 0u) {
    for (var i = 0u; i < p.k; i = i + 4u) {
      let terms = load4_scratch(start + i, 4u);
      for (var c = 0u; c < COLS; c = c + 1u) { ups[c] = ups[c] + terms * load4_up(at[c] + i, 4u); }
    }
  }
  let one = vec4<f32>(1.0);
  for (var c = 0u; c < COLS; c = c + WIDTH) {
    let next = c + WIDTH - 1u;
    finish(vec_of(dot(gates[c], one), dot(gates[next], one)), vec_of(dot(ups[c], one), dot(ups[next], one)), row, col + column(c));
  }
}
