// An invocation has two blocks of a row, 17 words, or the row's last one, 8 and a half: the
// rest of the last word is 0.
@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) local: u32) {
  let blocks = p.cols / 32u;
  let pairs = (blocks + 1u) / 2u;
  let index = group_index(group, groups) * 64u + local;
  let row = index / pairs;
  if (row >= rows()) { return; }
  let pair = index % pairs;
  let source = row * p.cols + 64u * pair;
  let to = ring_row(step_u32(p.slot) + row) * ((17u * blocks + 1u) / 2u) + 17u * pair;
  let first = largest_of(source);
  var low = scale_bits(first);
  for (var i = 0u; i < 8u; i = i + 1u) {
    let q = integers(source + 4u * i, first);
    store_y(to + i, low | (q << 16u));
    low = q >> 16u;
  }
  if (2u * pair + 1u == blocks) {
    store_y(to + 8u, low);
    return;
  }
  let second = largest_of(source + 32u);
  store_y(to + 8u, low | (scale_bits(second) << 16u));
  for (var i = 0u; i < 8u; i = i + 1u) { store_y(to + 9u + i, integers(source + 32u + 4u * i, second)); }
}

// The bits of the largest magnitude of 32 values: as integers, NaN is the largest.
fn largest_of(source: u32) -> u32 {
  var largest = vec4<u32>(0u);
  for (var i = 0u; i < 32u; i = i + 4u) {
    largest = max(largest, bitcast<vec4<u32>>(load4_x(source + i, 4u)) & vec4<u32>(0x7fffffffu));
  }
  return max(max(largest.x, largest.y), max(largest.z, largest.w));
}

// Blocks whose scale has no finite reciprocal are 0, and those with an infinite or NaN
// value have the scale NaN.
fn is_zero(largest: u32) -> bool { return bitcast<f32>(largest) < 1e-36; }
fn is_finite(largest: u32) -> bool { return largest < 0x7f800000u; }

// The scale as F16, rounded to the nearest, ties to even.
fn scale_bits(largest: u32) -> u32 {
  if (!is_finite(largest)) { return 0x7e00u; }
  if (is_zero(largest)) { return 0u; }
  let a = bitcast<u32>(bitcast<f32>(largest) / 127.0);
  if (a >= 0x47800000u) { return 0x7c00u; }
  // Below 2⁻¹⁴ the last place is 2⁻²⁴, as it is of numbers just above 1/2.
  if (a < 0x38800000u) { return bitcast<u32>(bitcast<f32>(a) + 0.5) - 0x3f000000u; }
  return (a - 0x38000000u + 0xfffu + ((a >> 13u) & 1u)) >> 13u;
}

// Four values as signed bytes.
fn integers(source: u32, largest: u32) -> u32 {
  if (!is_finite(largest) || is_zero(largest)) { return 0u; }
  let q = bitcast<vec4<u32>>(vec4<i32>(round(load4_x(source, 4u) * (127.0 / bitcast<f32>(largest))))) & vec4<u32>(255u);
  return q.x | (q.y << 8u) | (q.z << 16u) | (q.w << 24u);
}
