// Writes four results of the matmul at a row and a column of a matrix of the batch.
fn finish(sum: vec4<f32>, row: u32, col: u32, batch: u32) {
  if (row >= m() || col >= p.n) { return; }
  let n = p.n - col;
  let at = batch * p.stride_c + row * p.ldc + col;
  var c = p.alpha * sum;
  if (p.beta != 0.0) { c = c + p.beta * load4_c(at, n); }
  if (p.bias != 0u) { c = c + load4_bias(col, n); }
  if (p.residual != 0u) { c = c + load4_residual(at, n); }
  store4_c(at, n, c);
}
