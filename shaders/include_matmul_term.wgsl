// matmul_row with one term in a load.
alias Terms = f32;
const TERMS: u32 = 1u;
fn terms_a(i: u32) -> Terms { return load_a(i); }
fn terms_b(i: u32) -> Terms { return load_b(i); }
fn dot_terms(x: Terms, y: Terms) -> f32 { return x * y; }
