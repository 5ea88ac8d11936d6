// Q5_K, 44 words: see quant_k; then the fifth bits of 256 weights, bit g of byte i that of
// weight i of group g, and their lower 4 bits as in Q4_K.
struct Packed { head: vec4<u32>, fifth: vec2<u32>, q: vec2<u32> }
fn packed(i: u32) -> Packed {
  let at = 44u * (i / 256u);
  return Packed(head_of(at), two_words(at + 4u + i / 4u % 8u), two_words(at + 12u + i / 64u % 4u * 8u + i / 4u % 8u));
}
fn fifths(w: u32, group: u32) -> u32 { return ((w >> group) & 0x01010101u) << 4u; }
fn unpack(x: Packed, i: u32) -> mat2x4<f32> {
  let group = i / 32u % 8u;
  let q = x.q >> vec2<u32>(group % 2u * 4u);
  let scale = group_scales(x.head, group);
  return mat2x4<f32>(
    scale.x * bytes(nibbles(q.x) | fifths(x.fifth.x, group)) - scale.y, scale.x * bytes(nibbles(q.y) | fifths(x.fifth.y, group)) - scale.y);
}

fn dot_chunk(chunk: u32, x: array<vec4<f32>, 8>) -> f32 {
  let block = 44u * (chunk / 8u);
  let group = chunk / 2u % 4u * 2u;
  let head = head_of(block);
  let low = group_scales(head, group);
  let high = group_scales(head, group + 1u);
  var sums = mat2x4<f32>();
  var ones = mat2x4<f32>();
  for (var j = 0u; j < 4u; j = j + 1u) {
    let q = load_b(block + 12u + chunk % 8u * 4u + j);
    let fifth = load_b(block + 4u + chunk % 2u * 4u + j);
    sums[0] = sums[0] + bytes(nibbles(q) | fifths(fifth, group)) * x[j];
    sums[1] = sums[1] + bytes(nibbles(q >> 4u) | fifths(fifth, group + 1u)) * x[j + 4u];
    ones[0] = ones[0] + x[j];
    ones[1] = ones[1] + x[j + 4u];
  }
  return total(low.x * sums[0] + high.x * sums[1] - low.y * ones[0] - high.y * ones[1]);
}
