fn exp_vec(x: Vec) -> Vec { return Vec(exp_f32(x.x), exp_f32(x.y)); }
fn sigmoid_vec(x: Vec) -> Vec { return Vec(sigmoid_f32(x.x), sigmoid_f32(x.y)); }
