// Kernels of 32-bit floats work on one element at a time.
alias Vec = f32;
const WIDTH: u32 = 1u;
fn sum_of(v: Vec) -> f32 { return v; }
