// Q4_0, 9 half-words: an F16 scale, then 32 weights of 4 bits, offset by 8; the low
// nibbles of the bytes are the first 16.
struct Packed { scale: u32, q: vec3<u32> }
fn half_of(i: u32) -> u32 { return 9u * (i / 32u) + 1u + i / 8u % 2u * 4u; }
fn packed(i: u32) -> Packed { return Packed(load_b(9u * (i / 32u) / 2u), three_words(half_of(i))); }
fn unpack(x: Packed, i: u32) -> mat2x4<f32> {
  let q = two_of(x.q, half_of(i)) >> vec2<u32>(i / 16u % 2u * 4u);
  return scale_of(x.scale, i / 32u % 2u == 1u) * mat2x4<f32>(bytes(nibbles(q.x)) - 8.0, bytes(nibbles(q.y)) - 8.0);
}

fn dot_chunk(chunk: u32, x: array<vec4<f32>, 8>) -> f32 {
  let at = 9u * chunk / 2u;
  let aligned = chunk % 2u == 1u; // of the bytes, which follow a half-word
  var low = load_b(at);
  let scale = scale_of(low, aligned);
  var sum = vec4<f32>(0.0);
  var ones = vec4<f32>(0.0);
  for (var j = 0u; j < 4u; j = j + 1u) {
    let high = load_b(at + 1u + j);
    let q = select(joined(low, high, true), high, aligned);
    sum = sum + bytes(nibbles(q)) * x[j];
    sum = sum + bytes(nibbles(q >> 4u)) * x[j + 4u];
    ones = ones + x[j] + x[j + 4u];
    low = high;
  }
  return scale * total(sum - 8.0 * ones);
}
