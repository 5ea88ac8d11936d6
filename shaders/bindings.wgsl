// Load and store functions of bindings: writeBinding chooses parts of this file for a
// binding NAME of elements TYPE. The line before a part is its name.
//: load one
fn load_NAME(i: u32) -> TYPE { return NAME[i]; }
//: store one
fn store_NAME(i: u32, value: TYPE) { NAME[i] = value; }
//: load four
fn load4_NAME(i: u32, n: u32) -> vec4<f32> {
  return vec4<f32>(NAME[i], select(0.0, NAME[i + min(1u, n - 1u)], n > 1u),
    select(0.0, NAME[i + min(2u, n - 1u)], n > 2u), select(0.0, NAME[i + min(3u, n - 1u)], n > 3u));
}
//: store four
fn store4_NAME(i: u32, n: u32, value: vec4<f32>) {
  NAME[i] = value.x;
  if (n > 1u) { NAME[i + 1u] = value.y; }
  if (n > 2u) { NAME[i + 2u] = value.z; }
  if (n > 3u) { NAME[i + 3u] = value.w; }
}
//: load vec4
fn load_NAME(i: u32) -> f32 { return NAME[i / 4u][i % 4u]; }
fn load4_NAME(i: u32, n: u32) -> vec4<f32> { return NAME[i / 4u]; }
//: store vec4
fn store4_NAME(i: u32, n: u32, value: vec4<f32>) { NAME[i / 4u] = value; }
//: load single
fn loadv_NAME(i: u32) -> f32 { return NAME[i]; }
//: store single
fn storev_NAME(i: u32, value: f32) { NAME[i] = value; }
//: load pair
fn loadv_NAME(i: u32) -> vec2<f32> { return vec2<f32>(NAME[i], NAME[i + 1u]); }
//: store pair
fn storev_NAME(i: u32, value: vec2<f32>) {
  NAME[i] = value.x;
  NAME[i + 1u] = value.y;
}
//: load half
fn load_NAME(i: u32) -> f32 {
  let pair = unpack_pair(NAME[i / 2u]);
  return select(pair.x, pair.y, i % 2u == 1u);
}
//: load half pair
fn loadv_NAME(i: u32) -> vec2<f32> { return unpack_pair(NAME[i / 2u]); }
//: store half pair
fn storev_NAME(i: u32, value: vec2<f32>) { NAME[i / 2u] = pack_pair(value); }
//: load half four
fn load4_NAME(i: u32, n: u32) -> vec4<f32> {
  let low = unpack_pair(NAME[i / 2u]);
  let high = unpack_pair(NAME[i / 2u + select(0u, 1u, n > 2u)]);
  return vec4<f32>(low.x, select(0.0, low.y, n > 1u), select(0.0, high.x, n > 2u), select(0.0, high.y, n > 3u));
}
//: store half four
fn store4_NAME(i: u32, n: u32, value: vec4<f32>) {
  NAME[i / 2u] = pack_pair(value.xy);
  if (n > 2u) { NAME[i / 2u + 1u] = pack_pair(value.zw); }
}
//: load half vec4
fn load_NAME(i: u32) -> f32 {
  let pair = unpack_pair(NAME[i / 4u][i / 2u % 2u]);
  return select(pair.x, pair.y, i % 2u == 1u);
}
fn load4_NAME(i: u32, n: u32) -> vec4<f32> {
  let words = NAME[i / 4u];
  return vec4<f32>(unpack_pair(words.x), unpack_pair(words.y));
}
//: load half vec8
fn load8_NAME(i: u32) -> mat2x4<f32> {
  let words = NAME[i / 8u];
  return mat2x4<f32>(vec4<f32>(unpack_pair(words.x), unpack_pair(words.y)), vec4<f32>(unpack_pair(words.z), unpack_pair(words.w)));
}
//: store half vec4
fn store4_NAME(i: u32, n: u32, value: vec4<f32>) { NAME[i / 4u] = vec2<u32>(pack_pair(value.xy), pack_pair(value.zw)); }
