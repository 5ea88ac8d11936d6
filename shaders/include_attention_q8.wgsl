// Keys and values in blocks of Q8_0, 17 half-words each: an F16 scale, 32 signed bytes. The
// rows of a token's heads are padded to whole words.

// The half-word where the block of element i starts.
fn block_of(i: u32) -> u32 {
  let cols = p.kv_heads * p.head_dim;
  return (17u * (cols / 32u) + 1u) / 2u * 2u * (i / cols) + 17u * (i % cols / 32u);
}
// The half-word of element i, a multiple of 4, whose block starts at another.
fn bytes_of(block: u32, i: u32) -> u32 { return block + 1u + i % 32u / 2u; }

// Four values, from the word with the scale and the one or two with the bytes. Where a block
// starts in the middle of a word, its bytes do not.
fn dequantized(scale: u32, low: u32, high: u32, block: u32) -> vec4<f32> {
  let two = unpack2x16float(scale);
  let odd = block % 2u == 1u;
  let q = select((low >> 16u) | (high << 16u), low, odd);
  return select(two.x, two.y, odd) * vec4<f32>(bitcast<vec4<i32>>(vec4<u32>(q << 24u, q << 16u, q << 8u, q)) >> vec4<u32>(24u));
}
fn load4_k(i: u32, n: u32) -> vec4<f32> {
  let block = block_of(i);
  let at = bytes_of(block, i);
  return dequantized(load_k_blocks(block / 2u), load_k_blocks(at / 2u), load_k_blocks((at + 1u) / 2u), block);
}
fn load4_v(i: u32, n: u32) -> vec4<f32> {
  let block = block_of(i);
  let at = bytes_of(block, i);
  return dequantized(load_v_blocks(block / 2u), load_v_blocks(at / 2u), load_v_blocks((at + 1u) / 2u), block);
}
