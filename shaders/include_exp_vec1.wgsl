fn sigmoid_vec(x: Vec) -> Vec { return sigmoid_f32(x); }
