fn unpack_pair(w: u32) -> vec2<f32> { return unpack2x16float(w); }
fn pack_pair(v: vec2<f32>) -> u32 { return f16_bits(bitcast<u32>(v.x)) | (f16_bits(bitcast<u32>(v.y)) << 16u); }
fn f16_bits(b: u32) -> u32 {
  let sign = (b >> 16u) & 0x8000u;
  let a = b & 0x7fffffffu;
  if (a >= 0x47800000u) { return sign | select(0x7c00u, 0x7e00u, a > 0x7f800000u); }
  // Below 2⁻¹⁴ the last place is 2⁻²⁴, as it is of numbers just above 1/2.
  if (a < 0x38800000u) { return sign | (bitcast<u32>(bitcast<f32>(a) + 0.5) - 0x3f000000u); }
  return sign | ((a - 0x38000000u + 0xfffu + ((a >> 13u) & 1u)) >> 13u);
}
