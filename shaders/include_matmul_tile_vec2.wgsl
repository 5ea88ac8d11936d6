// What an invocation of matmul_tile loads of 16 bits, where rows are not aligned to more:
// two terms of each of two rows, SIDE/2 apart, or across, two rows of each of two terms,
// 4 apart.
struct Source {
  first: u32,    // the matrix's offset
  at: vec2<u32>, // those of the first loads
  term: u32,     // the first term
  step: u32,     // from a term to the next
  across: bool,
  to: u32,       // in shared memory
  next: u32,     // from a load to the next there
  row: u32,      // of four
}

// Rows past the end load the last ones, and are not stored.
fn source(local: u32, first: u32, size: u32, base: u32, ld: u32, across: bool) -> Source {
  let row = select(local / 4u, local % (SIDE / 2u) * 2u, across);
  let term = select(local % 4u * 2u, local / (SIDE / 2u), across);
  let rows = first + row + select(vec2<u32>(0u, SIDE / 2u), vec2<u32>(0u), across);
  let terms = term + select(vec2<u32>(0u), vec2<u32>(0u, 4u), across);
  let last = select(size - 1u, (size - 1u) / 2u * 2u, across);
  let step = select(1u, ld, across);
  let at = base + min(rows, vec2<u32>(last)) * select(ld, 1u, across) + terms * step;
  return Source(base, at, term, step, across, term * PITCH + row / 4u, select(SIDE / 8u, 4u * PITCH, across), row % 4u);
}
// Which values of the loads i terms on are of terms before the end.
fn before(end: u32, x: Source, i: u32) -> vec4<bool> {
  return x.term + i + select(vec4<u32>(0u, 1u, 0u, 1u), vec4<u32>(0u, 0u, 4u, 4u), x.across) < vec4<u32>(end);
}
// Offsets, or that of the matrix where nothing is before the end.
fn or_first(at: vec2<u32>, x: Source, within: vec4<bool>) -> vec2<u32> { return select(vec2<u32>(x.first), at, within.xz); }
fn four_a(at: vec2<u32>) -> vec4<f32> { return vec4<f32>(loadv_a(at.x), loadv_a(at.y)); }
fn four_b(at: vec2<u32>) -> vec4<f32> { return vec4<f32>(loadv_b(at.x), loadv_b(at.y)); }

fn store_a(x: Source, s: u32, v: vec4<f32>) {
  let to = x.to + 8u * PITCH * s;
  let second = to + select(PITCH, 0u, x.across);
  let row = x.row + select(0u, 1u, x.across);
  tile_a[to][x.row] = v.x;
  tile_a[second][row] = v.y;
  tile_a[to + x.next][x.row] = v.z;
  tile_a[second + x.next][row] = v.w;
}
fn store_b(x: Source, s: u32, v: vec4<f32>) {
  let to = x.to + 8u * PITCH * s;
  let second = to + select(PITCH, 0u, x.across);
  let row = x.row + select(0u, 1u, x.across);
  tile_b[to][x.row] = v.x;
  tile_b[second][row] = v.y;
  tile_b[to + x.next][x.row] = v.z;
  tile_b[second + x.next][row] = v.w;
}
