// Blocks of quantised weights are numbered from b's start, and so are weights. Blocks are
// multiples of 2 bytes: every second one of an odd number of half-words starts in the
// middle of a word. What a block's format is, and how it is read, is in quant_FORMAT:
//
//  - packed(i) loads what unpack needs of the eight weights from i on, a multiple of 8,
//    and unpack(packed(i), i) are their values.
//  - A chunk is 32 weights whose bits are loaded together, as vec4s, whose first weights
//    are chunk_at(chunk, 0) to chunk_at(chunk, 7). dot_chunk is their dot product with x.

// The bytes of a word, the low nibbles of its bytes, and their low pairs of bits.
fn bytes(w: u32) -> vec4<f32> { return vec4<f32>(vec4<u32>(w, w >> 8u, w >> 16u, w >> 24u) & vec4<u32>(255u)); }
fn nibbles(w: u32) -> u32 { return w & 0x0f0f0f0fu; }
fn pairs(w: u32) -> u32 { return w & 0x03030303u; }

// The word that starts with the upper half of low, if odd, else low.
fn joined(low: u32, high: u32, odd: bool) -> u32 { return select(low, (low >> 16u) | (high << 16u), odd); }
// Two words from half-word h on, as three loads (the last one twice where two suffice).
fn three_words(h: u32) -> vec3<u32> { return vec3<u32>(load_b(h / 2u), load_b(h / 2u + 1u), load_b((h + 1u) / 2u + 1u)); }
fn two_of(w: vec3<u32>, h: u32) -> vec2<u32> { return vec2<u32>(joined(w.x, w.y, h % 2u == 1u), joined(w.y, w.z, h % 2u == 1u)); }
fn two_words(i: u32) -> vec2<u32> { return vec2<u32>(load_b(i), load_b(i + 1u)); }
// The F16 in the lower half of a word, or if odd in its upper half.
fn scale_of(w: u32, odd: bool) -> f32 {
  let two = unpack2x16float(w);
  return select(two.x, two.y, odd);
}
fn total(v: vec4<f32>) -> f32 { return dot(v, vec4<f32>(1.0)); }
