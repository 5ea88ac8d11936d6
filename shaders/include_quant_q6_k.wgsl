// Q6_K, 105 half-words: the low 4 bits of 256 weights, their upper 2 bits, sixteen signed
// 8-bit scales, an F16 scale of those. Each half of the block has four groups of 32
// weights, offset by 32: of 64 bytes of low bits, the low nibbles are two groups and the
// high ones the other two; 32 bytes of upper bits are shared by all four.
struct Packed { scale: u32, scales: u32, low: vec3<u32>, high: vec3<u32> }
fn low_of(i: u32) -> u32 { return 105u * (i / 256u) + i / 128u % 2u * 32u + i / 32u % 2u * 16u + i / 8u % 4u * 4u; }
fn high_of(i: u32) -> u32 { return 105u * (i / 256u) + 64u + i / 128u % 2u * 16u + i / 8u % 4u * 4u; }
fn scales_of(i: u32) -> u32 { return 105u * (i / 256u) + 96u + i / 32u % 8u; }
fn packed(i: u32) -> Packed {
  return Packed(load_b((105u * (i / 256u) + 104u) / 2u), load_b(scales_of(i) / 2u), three_words(low_of(i)), three_words(high_of(i)));
}
fn six(low: u32, high: u32) -> vec4<f32> { return bytes(nibbles(low) | (pairs(high) << 4u)); }
// Byte i of a word, signed.
fn signed_byte(w: u32, i: u32) -> f32 { return f32(bitcast<i32>(w << (24u - 8u * i)) >> 24u); }
fn unpack(x: Packed, i: u32) -> mat2x4<f32> {
  let low = two_of(x.low, low_of(i)) >> vec2<u32>(i / 64u % 2u * 4u);
  let high = two_of(x.high, high_of(i)) >> vec2<u32>(i / 32u % 4u * 2u);
  let scale = scale_of(x.scale, i / 256u % 2u == 1u) * signed_byte(x.scales, scales_of(i) % 2u * 2u + i / 16u % 2u);
  return scale * mat2x4<f32>(six(low.x, high.x) - 32.0, six(low.y, high.y) - 32.0);
}

// A chunk is eight weights of each of four groups.
fn chunk_at(chunk: u32, j: u32) -> u32 { return chunk / 4u * 128u + j / 2u * 32u + chunk % 4u * 8u + j % 2u * 4u; }
fn dot_chunk(chunk: u32, x: array<vec4<f32>, 8>) -> f32 {
  let i = chunk_at(chunk, 0u);
  let low = low_of(i);
  let a = two_of(three_words(low), low);
  let b = two_of(three_words(low + 16u), low);
  let high = two_of(three_words(high_of(i)), low);
  let scales = two_of(three_words(scales_of(i)), low);
  let scale = scale_of(load_b((105u * (i / 256u) + 104u) / 2u), chunk / 8u % 2u == 1u);
  let byte = chunk / 2u % 2u;
  let first = six(a.x, high.x) * x[0] + six(a.y, high.y) * x[1] - 32.0 * (x[0] + x[1]);
  let second = six(b.x, high.x >> 2u) * x[2] + six(b.y, high.y >> 2u) * x[3] - 32.0 * (x[2] + x[3]);
  let third = six(a.x >> 4u, high.x >> 4u) * x[4] + six(a.y >> 4u, high.y >> 4u) * x[5] - 32.0 * (x[4] + x[5]);
  let fourth = six(b.x >> 4u, high.x >> 6u) * x[6] + six(b.y >> 4u, high.y >> 6u) * x[7] - 32.0 * (x[6] + x[7]);
  return scale * total(signed_byte(scales.x, byte) * first + signed_byte(scales.x >> 16u, byte) * second
    + signed_byte(scales.y, byte) * third + signed_byte(scales.y >> 16u, byte) * fourth);
}
