// Q4_1, 5 words: an F16 scale and minimum, then 32 weights of 4 bits; the low nibbles of
// the bytes are the first 16.
struct Packed { scale: u32, q: vec2<u32> }
fn packed(i: u32) -> Packed { return Packed(load_b(5u * (i / 32u)), two_words(5u * (i / 32u) + 1u + i / 8u % 2u * 2u)); }
fn unpack(x: Packed, i: u32) -> mat2x4<f32> {
  let q = x.q >> vec2<u32>(i / 16u % 2u * 4u);
  let scale = unpack2x16float(x.scale);
  return mat2x4<f32>(scale.x * bytes(nibbles(q.x)) + scale.y, scale.x * bytes(nibbles(q.y)) + scale.y);
}

fn dot_chunk(chunk: u32, x: array<vec4<f32>, 8>) -> f32 {
  let scale = unpack2x16float(load_b(5u * chunk));
  var sum = vec4<f32>(0.0);
  var ones = vec4<f32>(0.0);
  for (var j = 0u; j < 4u; j = j + 1u) {
    let q = load_b(5u * chunk + 1u + j);
    sum = sum + bytes(nibbles(q)) * x[j];
    sum = sum + bytes(nibbles(q >> 4u)) * x[j + 4u];
    ones = ones + x[j] + x[j + 4u];
  }
  return total(scale.x * sum + scale.y * ones);
}
