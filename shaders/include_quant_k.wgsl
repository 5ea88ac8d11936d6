// What Q4_K and Q5_K share: blocks of 256 begin with four words, of F16 scales of the
// scales and of the minima, then eight 6-bit scales and minima in 12 bytes, for groups of
// 32. 16 bytes of weights are half of one group in low nibbles, and of the next in high
// ones: a chunk.
fn head_of(at: u32) -> vec4<u32> { return vec4<u32>(load_b(at), load_b(at + 1u), load_b(at + 2u), load_b(at + 3u)); }

// The scale and the minimum of a group. Those of the first four are the low six bits of
// bytes 0 to 3 and 4 to 7, whose upper two bits are the upper two of the others'.
fn group_scales(head: vec4<u32>, group: u32) -> vec2<f32> {
  let x = head.yzw >> vec3<u32>(group % 4u * 8u);
  let early = x.xy & vec2<u32>(63u);
  let late = (vec2<u32>(x.z, x.z >> 4u) & vec2<u32>(15u)) | ((x.xy >> vec2<u32>(2u)) & vec2<u32>(48u));
  return unpack2x16float(head.x) * vec2<f32>(select(late, early, group < 4u));
}
fn chunk_at(chunk: u32, j: u32) -> u32 { return chunk / 2u * 64u + chunk % 2u * 16u + j / 4u * 32u + j % 4u * 4u; }
