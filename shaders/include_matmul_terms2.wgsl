// matmul_row with loads of 16 bytes: eight terms of 16 bits.
alias Terms = mat2x4<f32>;
const TERMS: u32 = 8u;
fn terms_a(i: u32) -> Terms { return load8_a(i); }
fn terms_b(i: u32) -> Terms { return load8_b(i); }
fn dot_terms(x: Terms, y: Terms) -> f32 { return dot(x[0], y[0]) + dot(x[1], y[1]); }
