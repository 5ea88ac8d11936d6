// matmul_row for rows whose length is a multiple of 4: an invocation loads 4 terms at a
// time.
var<workgroup> partial: array<vec4<f32>, GROUP>; // the columns' sums

// The dot products of a row of a with four of b, valid in the first invocation.
fn row_sums(a: u32, b: vec4<u32>, local: u32) -> vec4<f32> {
  var sum = vec4<f32>(0.0);
  for (var i = 4u * local; i < k(); i = i + 4u * GROUP) {
    let terms = load4_a(a + i, 4u);
    sum = sum + vec4<f32>(dot(terms, load4_b(b.x + i, 4u)), dot(terms, load4_b(b.y + i, 4u)),
                          dot(terms, load4_b(b.z + i, 4u)), dot(terms, load4_b(b.w + i, 4u)));
  }
  partial[local] = sum;
  for (var n = GROUP / 2u; n > 0u; n = n / 2u) {
    workgroupBarrier();
    if (local < n) { partial[local] = partial[local] + partial[local + n]; }
  }
  return partial[local];
}
