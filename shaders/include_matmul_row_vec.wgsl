// matmul_row with one term at a time: the dot products of a row of a with four of b.
fn row_sums(a: u32, b: vec4<u32>, local: u32) -> vec4<f32> {
  var sum = vec4<f32>(0.0);
  for (var i = local; i < k(); i = i + GROUP) {
    sum = sum + load_a(a + i) * vec4<f32>(load_b(b.x + i), load_b(b.y + i), load_b(b.z + i), load_b(b.w + i));
  }
  return vec4<f32>(group_sum(sum.x, local), group_sum(sum.y, local), group_sum(sum.z, local), group_sum(sum.w, local));
}
