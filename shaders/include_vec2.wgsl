// Kernels with 16-bit floats work on two elements at a time, which share a word.
alias Vec = vec2<f32>;
const WIDTH: u32 = 2u;
// The first WIDTH of two floats.
fn vec_of(a: f32, b: f32) -> Vec { return Vec(a, b); }
fn lane_sum(v: Vec) -> f32 { return v.x + v.y; }
