const QUAD = 4u; // values of an invocation; those of a workgroup share a scale
const SMALLEST = 1e-26; // the scale below which a block counts as zero

// The scale of a block, of which the invocation has x.
fn scale_of(x: vec4<f32>, local: u32) -> f32 {
  let magnitude = abs(x);
  let largest = group_max(max(max(magnitude.x, magnitude.y), max(magnitude.z, magnitude.w)), local);
  return select(0.0, largest, largest >= SMALLEST);
}

@compute @workgroup_size(GROUP)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) local: u32) {
  let block = group_index(group, groups);
  let factor = load_clip(1u);
  if (block >= p.n / (QUAD * GROUP)) { return; }
  let word = block * GROUP + local;
  let i = QUAD * word;
  let at = p.base + block;
  let lr = step_f32(p.slot);
  let g = load4_g(i, QUAD) * factor;

  let root_m = unpack4x8snorm(load_m(word));
  let m = p.beta1 * (root_m * abs(root_m) * load_mscale(at)) + (1.0 - p.beta1) * g;
  let root_v = unpack4x8unorm(load_v(word));
  let square_v = root_v * root_v;
  let v = p.beta2 * (square_v * square_v * load_vscale(at)) + (1.0 - p.beta2) * g * g;

  let update = m * step_f32(p.slot + 1u) / (sqrt(v) * step_f32(p.slot + 2u) + p.eps);
  let w = load4_w(i, QUAD) * (1.0 - lr * p.weight_decay) - lr * update;

  let scale_m = scale_of(m, local);
  let scale_v = scale_of(v, local);
  if (factor == 0.0) { return; } // after the barriers, which all must reach
  store4_w(i, QUAD, w);
  if (p.narrow != 0u) { store4_narrow(i, QUAD, w); }
  var codes_m = 0u;
  var codes_v = 0u;
  if (scale_m > 0.0) { codes_m = pack4x8snorm(sign(m) * sqrt(abs(m) / scale_m)); }
  if (scale_v > 0.0) {
    let root = sqrt(sqrt(v / scale_v));
    codes_v = pack4x8unorm(select(vec4<f32>(0.0), max(root, vec4<f32>(1.0 / 255.0)), v > vec4<f32>(0.0)));
  }
  store_m(word, codes_m);
  store_v(word, codes_v);
  if (local == 0u) {
    store_mscale(at, scale_m);
    store_vscale(at, scale_v);
  }
}
