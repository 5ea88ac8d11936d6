// rmsnorm_linear_row with loads of 16 bytes: four weights of 32 bits.
alias Terms = vec4<f32>;
const TERMS: u32 = 4u;
fn terms_x(i: u32) -> Terms { return load4_x(i, 4u); }
fn terms_gain(i: u32) -> Terms { return load4_gain(i, 4u); }
fn terms_w(i: u32) -> Terms { return load4_w(i, 4u); }
fn terms_up(i: u32) -> Terms { return load4_up(i, 4u); }
fn times(x: Terms, y: Terms) -> Terms { return x * y; }
fn dot_terms(x: Terms, y: Terms) -> f32 { return dot(x, y); }
