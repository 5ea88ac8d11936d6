// Writes WIDTH results of the matmul.
fn finish(sum: Vec, row: u32, col: u32) {
  if (row >= m() || col >= p.n) { return; }
  let at = row * p.ldc + col;
  var c = sum;
  if (p.accumulate != 0u) { c = c + loadv_c(at); }
  if (p.bias != 0u) { c = c + loadv_bias(col); }
  if (p.residual != 0u) { c = c + loadv_residual(at); }
  storev_c(at, c);
}
