// Each workgroup of 8 invocations computes ROWS blocks of 4 rows by 8·COLS blocks of 4
// columns of c; an invocation has every eighth column, or pair of columns that are stored
// together, so that neighbours load neighbours. Blocks of 4×4 use WGSL's matrices: with
// a's rows as the columns of A and b's rows as the columns of B, the columns of B·A are
// the rows of a·b.

// Four terms of a row of op(a), or of a column of op(b), starting at i.
fn terms_a(i: u32, stride: u32) -> vec4<f32> {
  return vec4<f32>(load_a(i), load_a(i + stride), load_a(i + 2u * stride), load_a(i + 3u * stride));
}
fn terms_b(i: u32, stride: u32) -> vec4<f32> {
  return vec4<f32>(load_b(i), load_b(i + stride), load_b(i + 2u * stride), load_b(i + 3u * stride));
}

// Column j of an invocation, counted from its first.
fn column(j: u32) -> u32 { return j / WIDTH * WIDTH * 8u + j % WIDTH; }

@compute @workgroup_size(8)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) local: u32) {
  let tile = group_index(group, groups);
  let across = (p.n + 32u * COLS - 1u) / (32u * COLS);
  let down = (p.m_max + 4u * ROWS - 1u) / (4u * ROWS);
  let batch = tile / (across * down);
  let row = tile / across % down * 4u * ROWS;
  let col = tile % across * 32u * COLS + WIDTH * local;
  if (batch >= p.batch || row >= m()) { return; }

  let row_stride = select(p.lda, 1u, p.trans_a != 0u);
  let col_stride = select(1u, p.ldb, p.trans_b != 0u);
  let stride_a = select(1u, p.lda, p.trans_a != 0u);
  let stride_b = select(p.ldb, 1u, p.trans_b != 0u);
  // Rows and columns past the end load the last one, and are not stored.
  var at_a: array<vec4<u32>, ROWS>;
  var at_b: array<vec4<u32>, COLS>;
  for (var r = 0u; r < ROWS; r = r + 1u) {
    let rows = vec4<u32>(row + 4u * r) + vec4<u32>(0u, 1u, 2u, 3u);
    at_a[r] = batch * p.stride_a + min(rows, vec4<u32>(m() - 1u)) * row_stride;
  }
  for (var c = 0u; c < COLS; c = c + 1u) {
    let cols = vec4<u32>(col + 32u * c) + vec4<u32>(0u, column(1u), column(2u), column(3u));
    at_b[c] = batch * p.stride_b + min(cols, vec4<u32>(p.n - 1u)) * col_stride;
  }

  var sums: array<array<mat4x4<f32>, COLS>, ROWS>;
  let depth = k();
  let whole = depth / 4u * 4u;
  for (var i = 0u; i < whole; i = i + 4u) {
    var b: array<mat4x4<f32>, COLS>;
    for (var c = 0u; c < COLS; c = c + 1u) {
      let at = at_b[c] + i * stride_b;
      b[c] = transpose(mat4x4<f32>(terms_b(at.x, stride_b), terms_b(at.y, stride_b), terms_b(at.z, stride_b), terms_b(at.w, stride_b)));
    }
    for (var r = 0u; r < ROWS; r = r + 1u) {
      let at = at_a[r] + i * stride_a;
      let a = mat4x4<f32>(terms_a(at.x, stride_a), terms_a(at.y, stride_a), terms_a(at.z, stride_a), terms_a(at.w, stride_a));
      for (var c = 0u; c < COLS; c = c + 1u) { sums[r][c] = sums[r][c] + b[c] * a; }
    }
  }
  for (var i = whole; i < depth; i = i + 1u) {
    for (var r = 0u; r < ROWS; r = r + 1u) {
      let at = at_a[r] + i * stride_a;
      let a = vec4<f32>(load_a(at.x), load_a(at.y), load_a(at.z), load_a(at.w));
      for (var c = 0u; c < COLS; c = c + 1u) {
        let bt = at_b[c] + i * stride_b;
        let b = vec4<f32>(load_b(bt.x), load_b(bt.y), load_b(bt.z), load_b(bt.w));
        sums[r][c] = sums[r][c] + mat4x4<f32>(b * a.x, b * a.y, b * a.z, b * a.w);
      }
    }
  }
  // A copy, so that loops need not be unrolled: the stores are long.
  var results: array<f32, RESULTS>;
  for (var r = 0u; r < ROWS; r = r + 1u) {
    for (var c = 0u; c < COLS; c = c + 1u) {
      for (var i = 0u; i < 4u; i = i + 1u) {
        for (var j = 0u; j < 4u; j = j + 1u) { results[((4u * r + i) * COLS + c) * 4u + j] = sums[r][c][i][j]; }
      }
    }
  }
  for (var i = 0u; i < 4u * ROWS; i = i + 1u) {
    for (var j = 0u; j < 4u * COLS; j = j + WIDTH) {
      let at = i * 4u * COLS + j;
      finish(vec_of(results[at], results[at + WIDTH - 1u]), row + i, col + column(j), batch);
    }
  }
}
