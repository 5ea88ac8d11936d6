// The sigmoid in a gated unit's activation, gate·sigmoid(inner): inner is the gate itself for
// SiLU, and for GELU's tanh form that of include_gelu.
fn glu_sigmoid(gate: Vec) -> Vec {
  var inner = gate;
  if (p.activation != 0u) { inner = gelu_inner(gate); }
  return sigmoid_vec(inner);
}
// The derivative of the activation, given that sigmoid.
fn glu_slope(gate: Vec, s: Vec) -> Vec {
  if (p.activation != 0u) { return s + gate * (s * (1.0 - s) * gelu_inner_slope(gate)); }
  return s * (1.0 + gate * (1.0 - s));
}
