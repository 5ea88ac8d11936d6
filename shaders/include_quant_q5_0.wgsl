// Q5_0, 11 half-words: an F16 scale, the fifth bits of 32 weights, offset by 16, then
// their lower 4 bits as in Q4_0.
struct Packed { head: vec2<u32>, q: vec3<u32> }
fn half_of(i: u32) -> u32 { return 11u * (i / 32u) + 3u + i / 8u % 2u * 4u; }
fn packed(i: u32) -> Packed { return Packed(two_words(11u * (i / 32u) / 2u), three_words(half_of(i))); }
fn unpack(x: Packed, i: u32) -> mat2x4<f32> {
  let q = two_of(x.q, half_of(i)) >> vec2<u32>(i / 16u % 2u * 4u);
  let odd = i / 32u % 2u == 1u;
  let fifth = select(joined(x.head.x, x.head.y, true), x.head.y, odd) >> (i % 32u);
  return scale_of(x.head.x, odd) * mat2x4<f32>(
    bytes(nibbles(q.x) | fifth_bits(fifth)) - 16.0, bytes(nibbles(q.y) | fifth_bits(fifth >> 4u)) - 16.0);
}

fn dot_chunk(chunk: u32, x: array<vec4<f32>, 8>) -> f32 {
  let at = 11u * chunk / 2u;
  let aligned = chunk % 2u == 1u; // of the bits, which follow a half-word
  let head = two_words(at);
  let scale = scale_of(head.x, aligned);
  let fifth = select(joined(head.x, head.y, true), head.y, aligned);
  var low = head.y;
  let upper = fifth >> 16u;
  var sum = vec4<f32>(0.0);
  var ones = vec4<f32>(0.0);
  for (var j = 0u; j < 4u; j = j + 1u) {
    let high = load_b(at + 2u + j);
    let q = select(joined(low, high, true), high, aligned);
    sum = sum + bytes(nibbles(q) | fifth_bits(fifth >> (4u * j))) * x[j];
    sum = sum + bytes(nibbles(q >> 4u) | fifth_bits(upper >> (4u * j))) * x[j + 4u];
    ones = ones + x[j] + x[j + 4u];
    low = high;
  }
  return scale * total(sum - 16.0 * ones);
}
