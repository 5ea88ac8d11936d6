// Kernels of 32-bit floats work on one element at a time.
alias Vec = f32;
const WIDTH: u32 = 1u;
// The first WIDTH of two floats.
fn vec_of(a: f32, b: f32) -> Vec { return a; }
fn lane_sum(v: Vec) -> f32 { return v; }
