// Invocation i's matrix, for a workgroup of 8 that is one subgroup: each loads an eighth
// of what all of them need, since loads are expensive on a software device.
fn from_lane(x: mat4x4<f32>, i: u32) -> mat4x4<f32> {
  return mat4x4<f32>(subgroupShuffle(x[0], i), subgroupShuffle(x[1], i), subgroupShuffle(x[2], i), subgroupShuffle(x[3], i));
}
