// Writes the results of the matmul at a row and WIDTH columns of a matrix of the batch.
fn finish(sum: Vec, row: u32, col: u32, batch: u32) {
  if (row >= m() || col >= p.n) { return; }
  let at = batch * p.stride_c + row * p.ldc + col;
  var c = p.alpha * sum;
  if (p.beta != 0.0) { c = c + p.beta * loadv_c(at); }
  if (p.bias != 0u) { c = c + loadv_bias(col); }
  if (p.residual != 0u) { c = c + loadv_residual(at); }
  storev_c(at, c);
}
