// rmsnorm_linear_row with loads of 16 bytes: eight weights of 16 bits.
alias Terms = mat2x4<f32>;
const TERMS: u32 = 8u;
fn terms_x(i: u32) -> Terms { return Terms(load4_x(i, 4u), load4_x(i + 4u, 4u)); }
fn terms_gain(i: u32) -> Terms { return Terms(load4_gain(i, 4u), load4_gain(i + 4u, 4u)); }
fn terms_w(i: u32) -> Terms { return load8_w(i); }
fn terms_up(i: u32) -> Terms { return load8_up(i); }
fn times(x: Terms, y: Terms) -> Terms { return Terms(x[0] * y[0], x[1] * y[1]); }
fn dot_terms(x: Terms, y: Terms) -> f32 { return dot(x[0], y[0]) + dot(x[1], y[1]); }
