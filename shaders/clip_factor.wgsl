@compute @workgroup_size(1)
fn main() {
  var inverse = 1.0;
  if (p.scale_slot != 0u) { inverse = 1.0 / step_f32(p.scale_slot); }
  let norm = sqrt(load_x(0u)) * inverse;
  store_y(0u, norm);
  // Exponent bits all ones: infinite or not a number.
  if ((bitcast<u32>(norm) & 0x7f800000u) == 0x7f800000u) {
    store_y(1u, 0.0);
  } else if (p.max_norm == 0.0) {
    store_y(1u, inverse);
  } else {
    store_y(1u, min(1.0, p.max_norm / (norm + 1e-6)) * inverse);
  }
}
