// GELU's tanh form by the sigmoid: (1 + tanh(u/2))/2 = sigmoid(u), where u is
// 2√(2/π)·(x + 0.044715·x³). From ±100 on the sigmoid is 0 or 1.
fn gelu_inner(x: Vec) -> Vec {
  let t = clamp(x, Vec(-100.0), Vec(100.0));
  return 1.5957691216 * (t + 0.044715 * t * t * t);
}
fn gelu_inner_slope(x: Vec) -> Vec {
  let t = clamp(x, Vec(-100.0), Vec(100.0));
  return 1.5957691216 * (1.0 + 0.134145 * t * t);
}
