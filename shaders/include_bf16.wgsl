fn unpack_pair(w: u32) -> vec2<f32> { return vec2<f32>(bitcast<f32>(w << 16u), bitcast<f32>(w & 0xffff0000u)); }
fn pack_pair(v: vec2<f32>) -> u32 { return bf16_bits(bitcast<u32>(v.x)) | (bf16_bits(bitcast<u32>(v.y)) << 16u); }
fn bf16_bits(b: u32) -> u32 {
  if ((b & 0x7fffffffu) > 0x7f800000u) { return (b >> 16u) | 0x40u; }
  return (b + 0x7fffu + ((b >> 16u) & 1u)) >> 16u;
}
