// matmul_row with loads of 16 bytes: four terms of 32 bits.
alias Terms = vec4<f32>;
const TERMS: u32 = 4u;
fn terms_a(i: u32) -> Terms { return load4_a(i, 4u); }
fn terms_b(i: u32) -> Terms { return load4_b(i, 4u); }
fn dot_terms(x: Terms, y: Terms) -> f32 { return dot(x, y); }
