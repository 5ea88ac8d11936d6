// Writes WIDTH columns of a row of y from the products, the second of which counts only
// where there is one.
fn finish(gate: Vec, up: Vec, row: u32, col: u32) {
  if (col >= p.n) { return; }
  var y = gate;
  if (p.gated != 0u) { y = gate * sigmoid_vec(gate) * up; }
  storev_y(row * p.ld + col, y);
}
