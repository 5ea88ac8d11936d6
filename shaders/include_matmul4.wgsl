// Writes four results of the matmul at an offset of c, of columns from col on.
fn finish(sum: vec4<f32>, at: u32, col: u32) {
  if (col >= p.n) { return; }
  let n = p.n - col;
  var c = p.alpha * sum;
  if (p.beta != 0.0) { c = c + p.beta * load4_c(at, n); }
  if (p.bias != 0u) { c = c + load4_bias(col, n); }
  if (p.residual != 0u) { c = c + load4_residual(at, n); }
  store4_c(at, n, c);
}
