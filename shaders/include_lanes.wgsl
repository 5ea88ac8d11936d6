// Invocation n's matrix, for a workgroup of 8 that is one subgroup: each reads an
// eighth of what all of them need, since reading is what costs a rasteriser most.
fn from_lane0(x: mat4x4<f32>) -> mat4x4<f32> {
  return mat4x4<f32>(subgroupBroadcast(x[0], 0u), subgroupBroadcast(x[1], 0u), subgroupBroadcast(x[2], 0u), subgroupBroadcast(x[3], 0u));
}
fn from_lane1(x: mat4x4<f32>) -> mat4x4<f32> {
  return mat4x4<f32>(subgroupBroadcast(x[0], 1u), subgroupBroadcast(x[1], 1u), subgroupBroadcast(x[2], 1u), subgroupBroadcast(x[3], 1u));
}
fn from_lane2(x: mat4x4<f32>) -> mat4x4<f32> {
  return mat4x4<f32>(subgroupBroadcast(x[0], 2u), subgroupBroadcast(x[1], 2u), subgroupBroadcast(x[2], 2u), subgroupBroadcast(x[3], 2u));
}
fn from_lane3(x: mat4x4<f32>) -> mat4x4<f32> {
  return mat4x4<f32>(subgroupBroadcast(x[0], 3u), subgroupBroadcast(x[1], 3u), subgroupBroadcast(x[2], 3u), subgroupBroadcast(x[3], 3u));
}
fn from_lane4(x: mat4x4<f32>) -> mat4x4<f32> {
  return mat4x4<f32>(subgroupBroadcast(x[0], 4u), subgroupBroadcast(x[1], 4u), subgroupBroadcast(x[2], 4u), subgroupBroadcast(x[3], 4u));
}
fn from_lane5(x: mat4x4<f32>) -> mat4x4<f32> {
  return mat4x4<f32>(subgroupBroadcast(x[0], 5u), subgroupBroadcast(x[1], 5u), subgroupBroadcast(x[2], 5u), subgroupBroadcast(x[3], 5u));
}
fn from_lane6(x: mat4x4<f32>) -> mat4x4<f32> {
  return mat4x4<f32>(subgroupBroadcast(x[0], 6u), subgroupBroadcast(x[1], 6u), subgroupBroadcast(x[2], 6u), subgroupBroadcast(x[3], 6u));
}
fn from_lane7(x: mat4x4<f32>) -> mat4x4<f32> {
  return mat4x4<f32>(subgroupBroadcast(x[0], 7u), subgroupBroadcast(x[1], 7u), subgroupBroadcast(x[2], 7u), subgroupBroadcast(x[3], 7u));
}
