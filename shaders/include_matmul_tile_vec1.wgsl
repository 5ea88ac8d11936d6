// What an invocation of matmul_tile loads, where rows are not aligned: a term of each of
// four rows, SIDE/4 apart, or across, every second of 8 terms of a row. Neighbours load
// along the rows of the matrix as it is stored.
struct Source {
  first: u32,      // the matrix's offset
  at: vec4<u32>,   // those of the first loads
  term: vec4<u32>, // their terms
  step: u32,       // from a term to the next
  to: u32,         // in shared memory
  next: u32,       // from a load to the next there
  row: u32,        // of four
}

// Rows past the end load the last one, and are not stored.
fn source(local: u32, first: u32, size: u32, base: u32, ld: u32, across: bool) -> Source {
  let four = vec4<u32>(0u, 1u, 2u, 3u);
  let row = select(local / 8u + SIDE / 4u * four, vec4<u32>(local % SIDE), across);
  let term = select(vec4<u32>(local % 8u), local / SIDE + 2u * four, across);
  let step = select(1u, ld, across);
  let at = base + min(first + row, vec4<u32>(size - 1u)) * select(ld, 1u, across) + term * step;
  return Source(base, at, term, step, term.x * PITCH + row.x / 4u, select(SIDE / 16u, 2u * PITCH, across), row.x % 4u);
}
// Which loads i terms on are of terms before the end.
fn before(end: u32, x: Source, i: u32) -> vec4<bool> { return x.term + i < vec4<u32>(end); }
// Offsets, or that of the matrix where one is not before the end.
fn or_first(at: vec4<u32>, x: Source, within: vec4<bool>) -> vec4<u32> { return select(vec4<u32>(x.first), at, within); }
fn four_a(at: vec4<u32>) -> vec4<f32> { return vec4<f32>(load_a(at.x), load_a(at.y), load_a(at.z), load_a(at.w)); }
fn four_b(at: vec4<u32>) -> vec4<f32> { return vec4<f32>(load_b(at.x), load_b(at.y), load_b(at.z), load_b(at.w)); }

fn store_a(x: Source, s: u32, v: vec4<f32>) {
  let to = x.to + 8u * PITCH * s;
  tile_a[to][x.row] = v.x;
  tile_a[to + x.next][x.row] = v.y;
  tile_a[to + 2u * x.next][x.row] = v.z;
  tile_a[to + 3u * x.next][x.row] = v.w;
}
fn store_b(x: Source, s: u32, v: vec4<f32>) {
  let to = x.to + 8u * PITCH * s;
  tile_b[to][x.row] = v.x;
  tile_b[to + x.next][x.row] = v.y;
  tile_b[to + 2u * x.next][x.row] = v.z;
  tile_b[to + 3u * x.next][x.row] = v.w;
}
