struct Step { words: array<vec4<u32>, 16> }
@group(0) @binding(1) var<uniform> step_block: Step;
fn step_u32(i: u32) -> u32 { return step_block.words[i / 4u][i % 4u]; }
fn step_f32(i: u32) -> f32 { return bitcast<f32>(step_u32(i)); }
fn count_at(limit: u32, slot: u32, base: u32) -> u32 {
  if (slot == 0u) { return limit; }
  let n = step_u32(slot);
  return select(0u, min(n - base, limit), n > base);
}
fn group_index(id: vec3<u32>, groups: vec3<u32>) -> u32 { return id.x + id.y * groups.x; }
