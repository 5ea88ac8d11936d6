// Writes WIDTH columns of a row of y; up is used only with p.gated.
fn finish(gate: Vec, up: Vec, row: u32, col: u32) {
  if (col >= p.n) { return; }
  var y = gate;
  if (p.gated != 0u) { y = gate * glu_sigmoid(gate) * up; }
  storev_y(row * p.ld + col, y);
}
