fn sigmoid_vec(x: Vec) -> Vec { return Vec(sigmoid_f32(x.x), sigmoid_f32(x.y)); }
