// Writes the product's value at a row and column of a matrix of the batch.
fn finish(sum: f32, row: u32, col: u32, batch: u32) {
  if (row >= m() || col >= p.n) { return; }
  let at = batch * p.stride_c + row * p.ldc + col;
  var c = p.alpha * sum;
  if (p.beta != 0.0) { c = c + p.beta * load_c(at); }
  if (p.bias != 0u) { c = c + load_bias(col); }
  if (p.residual != 0u) { c = c + load_residual(at); }
  store_c(at, c);
}
