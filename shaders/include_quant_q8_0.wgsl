// Q8_0, 17 half-words: an F16 scale, 32 signed bytes.
struct Packed { scale: u32, q: vec3<u32> }
fn half_of(i: u32) -> u32 { return 17u * (i / 32u) + 1u + i / 8u % 4u * 4u; }
fn packed(i: u32) -> Packed { return Packed(load_b(17u * (i / 32u) / 2u), three_words(half_of(i))); }
fn unpack(x: Packed, i: u32) -> mat2x4<f32> {
  let q = two_of(x.q, half_of(i));
  return scale_of(x.scale, i / 32u % 2u == 1u) * mat2x4<f32>(signed_bytes(q.x), signed_bytes(q.y));
}
fn signed_bytes(w: u32) -> vec4<f32> { return vec4<f32>(bitcast<vec4<i32>>(vec4<u32>(w << 24u, w << 16u, w << 8u, w)) >> vec4<u32>(24u)); }

fn dot_chunk(chunk: u32, x: array<vec4<f32>, 8>) -> f32 {
  let at = 17u * chunk / 2u;
  let aligned = chunk % 2u == 1u; // of the bytes, which follow a half-word
  var low = load_b(at);
  let scale = scale_of(low, aligned);
  var sum = vec4<f32>(0.0);
  for (var j = 0u; j < 4u; j = j + 1u) {
    let middle = load_b(at + 1u + 2u * j);
    let high = load_b(at + 2u + 2u * j);
    sum = sum + signed_bytes(select(joined(low, middle, true), middle, aligned)) * x[2u * j];
    sum = sum + signed_bytes(select(joined(middle, high, true), high, aligned)) * x[2u * j + 1u];
    low = high;
  }
  return scale * total(sum);
}
