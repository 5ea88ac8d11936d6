// Each workgroup of 8 invocations makes 8 rows of 64 columns of c, each
// invocation 8 columns 8 apart, so that neighbours read neighbours. In blocks of
// 4×4 the product is the language's own: with a's rows as the columns of A and
// b's rows as the columns of B, B·A has the rows of a·b as its columns.

// Four terms of a row of op(a), from term k on; those past the end are 0.
fn terms_a(row: u32, k: u32, last: u32, stride: u32) -> vec4<f32> {
  return vec4<f32>(
    load_a(row + k * stride),
    select(0.0, load_a(row + min(k + 1u, last) * stride), k + 1u <= last),
    select(0.0, load_a(row + min(k + 2u, last) * stride), k + 2u <= last),
    select(0.0, load_a(row + min(k + 3u, last) * stride), k + 3u <= last));
}
fn terms_b(col: u32, k: u32, last: u32, stride: u32) -> vec4<f32> {
  return vec4<f32>(
    load_b(col + k * stride),
    load_b(col + min(k + 1u, last) * stride),
    load_b(col + min(k + 2u, last) * stride),
    load_b(col + min(k + 3u, last) * stride));
}

fn finish(sum: f32, at: u32, col: u32) {
  var c = p.alpha * sum;
  if (p.beta != 0.0) { c = c + p.beta * load_c(at); }
  if (p.bias != 0u) { c = c + load_bias(col); }
  if (p.residual != 0u) { c = c + load_residual(at); }
  store_c(at, c);
}

fn finish_row(sum: vec4<f32>, row: u32, col: u32, batch: u32) {
  if (row >= m()) { return; }
  let at = batch * p.stride_c + row * p.ldc + col;
  if (col < p.n) { finish(sum.x, at, col); }
  if (col + 8u < p.n) { finish(sum.y, at + 8u, col + 8u); }
  if (col + 16u < p.n) { finish(sum.z, at + 16u, col + 16u); }
  if (col + 24u < p.n) { finish(sum.w, at + 24u, col + 24u); }
}

@compute @workgroup_size(8)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) local: u32) {
  let tile = group_index(group, groups);
  let across = (p.n + 63u) / 64u;
  let down = (p.m_max + 7u) / 8u;
  let batch = tile / (across * down);
  let row = tile / across % down * 8u;
  let col = tile % across * 64u + local;
  if (batch >= p.batch || row >= m()) { return; }

  let last_row = m() - 1u;
  let last_col = p.n - 1u;
  let row_stride = select(p.lda, 1u, p.trans_a != 0u);
  let col_stride = select(1u, p.ldb, p.trans_b != 0u);
  let stride_a = select(1u, p.lda, p.trans_a != 0u);
  let stride_b = select(p.ldb, 1u, p.trans_b != 0u);
  let a = batch * p.stride_a;
  let b = batch * p.stride_b;
  let a0 = a + row * row_stride;
  let a1 = a + min(row + 1u, last_row) * row_stride;
  let a2 = a + min(row + 2u, last_row) * row_stride;
  let a3 = a + min(row + 3u, last_row) * row_stride;
  let a4 = a + min(row + 4u, last_row) * row_stride;
  let a5 = a + min(row + 5u, last_row) * row_stride;
  let a6 = a + min(row + 6u, last_row) * row_stride;
  let a7 = a + min(row + 7u, last_row) * row_stride;
  let b0 = b + min(col, last_col) * col_stride;
  let b1 = b + min(col + 8u, last_col) * col_stride;
  let b2 = b + min(col + 16u, last_col) * col_stride;
  let b3 = b + min(col + 24u, last_col) * col_stride;
  let b4 = b + min(col + 32u, last_col) * col_stride;
  let b5 = b + min(col + 40u, last_col) * col_stride;
  let b6 = b + min(col + 48u, last_col) * col_stride;
  let b7 = b + min(col + 56u, last_col) * col_stride;

  var c00 = mat4x4<f32>();
  var c01 = mat4x4<f32>();
  var c10 = mat4x4<f32>();
  var c11 = mat4x4<f32>();
  let depth = k();
  for (var i = 0u; i < depth; i = i + 4u) {
    let last = depth - 1u;
    let upper = mat4x4<f32>(terms_a(a0, i, last, stride_a), terms_a(a1, i, last, stride_a), terms_a(a2, i, last, stride_a), terms_a(a3, i, last, stride_a));
    let lower = mat4x4<f32>(terms_a(a4, i, last, stride_a), terms_a(a5, i, last, stride_a), terms_a(a6, i, last, stride_a), terms_a(a7, i, last, stride_a));
    let left = transpose(mat4x4<f32>(terms_b(b0, i, last, stride_b), terms_b(b1, i, last, stride_b), terms_b(b2, i, last, stride_b), terms_b(b3, i, last, stride_b)));
    let right = transpose(mat4x4<f32>(terms_b(b4, i, last, stride_b), terms_b(b5, i, last, stride_b), terms_b(b6, i, last, stride_b), terms_b(b7, i, last, stride_b)));
    c00 = c00 + left * upper;
    c01 = c01 + right * upper;
    c10 = c10 + left * lower;
    c11 = c11 + right * lower;
  }
  for (var r = 0u; r < 4u; r = r + 1u) {
    finish_row(c00[r], row + r, col, batch);
    finish_row(c01[r], row + r, col + 32u, batch);
    finish_row(c10[r], row + 4u + r, col, batch);
    finish_row(c11[r], row + 4u + r, col + 32u, batch);
  }
}
