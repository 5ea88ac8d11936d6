fn exp_vec(x: Vec) -> Vec { return exp_f32(x); }
fn sigmoid_vec(x: Vec) -> Vec { return sigmoid_f32(x); }
