// Q5_1, 6 words: an F16 scale and minimum, the fifth bits of 32 weights, then their lower
// 4 bits as in Q4_1.
struct Packed { scale: u32, fifth: u32, q: vec2<u32> }
fn packed(i: u32) -> Packed {
  let at = 6u * (i / 32u);
  return Packed(load_b(at), load_b(at + 1u), two_words(at + 2u + i / 8u % 2u * 2u));
}
fn unpack(x: Packed, i: u32) -> mat2x4<f32> {
  let q = x.q >> vec2<u32>(i / 16u % 2u * 4u);
  let fifth = x.fifth >> (i % 32u);
  let scale = unpack2x16float(x.scale);
  return mat2x4<f32>(
    scale.x * bytes(nibbles(q.x) | fifth_bits(fifth)) + scale.y, scale.x * bytes(nibbles(q.y) | fifth_bits(fifth >> 4u)) + scale.y);
}

fn dot_chunk(chunk: u32, x: array<vec4<f32>, 8>) -> f32 {
  let scale = unpack2x16float(load_b(6u * chunk));
  let fifth = load_b(6u * chunk + 1u);
  let upper = fifth >> 16u;
  var sum = vec4<f32>(0.0);
  var ones = vec4<f32>(0.0);
  for (var j = 0u; j < 4u; j = j + 1u) {
    let q = load_b(6u * chunk + 2u + j);
    sum = sum + bytes(nibbles(q) | fifth_bits(fifth >> (4u * j))) * x[j];
    sum = sum + bytes(nibbles(q >> 4u) | fifth_bits(upper >> (4u * j))) * x[j + 4u];
    ones = ones + x[j] + x[j + 4u];
  }
  return total(scale.x * sum + scale.y * ones);
}
