// Kernels with 16-bit floats work on two elements at a time, which share a word.
alias Vec = vec2<f32>;
const WIDTH: u32 = 2u;
fn sum_of(v: Vec) -> f32 { return v.x + v.y; }
