@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) local: u32) {
  let i = 8u * (group_index(group, groups) * 64u + local);
  if (i >= p.n) { return; }
  // Eight independent chains.
  let second = min(i + 4u, p.n - 1u);
  var x = load4_x(i, min(4u, p.n - i));
  var z = load4_x(second, min(4u, p.n - second));
  let a = vec4<f32>(p.a);
  let b = vec4<f32>(p.b);
  for (var r = 0u; r < p.rounds; r++) {
    x = fma(x, a, b); z = fma(z, a, b);
    x = fma(x, a, b); z = fma(z, a, b);
    x = fma(x, a, b); z = fma(z, a, b);
    x = fma(x, a, b); z = fma(z, a, b);
    x = fma(x, a, b); z = fma(z, a, b);
    x = fma(x, a, b); z = fma(z, a, b);
    x = fma(x, a, b); z = fma(z, a, b);
    x = fma(x, a, b); z = fma(z, a, b);
  }
  store4_y(i, min(4u, p.n - i), x);
  if (i + 4u < p.n) { store4_y(i + 4u, min(4u, p.n - i - 4u), z); }
}
