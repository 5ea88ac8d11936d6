// Q4_K, 36 words: see quant_k; then 256 weights of 4 bits.
struct Packed { head: vec4<u32>, q: vec2<u32> }
fn packed(i: u32) -> Packed {
  let at = 36u * (i / 256u);
  return Packed(head_of(at), two_words(at + 4u + i / 64u % 4u * 8u + i / 4u % 8u));
}
fn unpack(x: Packed, i: u32) -> mat2x4<f32> {
  let group = i / 32u % 8u;
  let q = x.q >> vec2<u32>(group % 2u * 4u);
  let scale = group_scales(x.head, group);
  return mat2x4<f32>(scale.x * bytes(nibbles(q.x)) - scale.y, scale.x * bytes(nibbles(q.y)) - scale.y);
}

fn dot_chunk(chunk: u32, x: array<vec4<f32>, 8>) -> f32 {
  let block = 36u * (chunk / 8u);
  let head = head_of(block);
  let low = group_scales(head, chunk / 2u % 4u * 2u);
  let high = group_scales(head, chunk / 2u % 4u * 2u + 1u);
  var sums = mat2x4<f32>();
  var ones = mat2x4<f32>();
  for (var j = 0u; j < 4u; j = j + 1u) {
    let q = load_b(block + 4u + chunk % 8u * 4u + j);
    sums[0] = sums[0] + bytes(nibbles(q)) * x[j];
    sums[1] = sums[1] + bytes(nibbles(q >> 4u)) * x[j + 4u];
    ones[0] = ones[0] + x[j];
    ones[1] = ones[1] + x[j + 4u];
  }
  return total(low.x * sums[0] + high.x * sums[1] - low.y * ones[0] - high.y * ones[1]);
}
