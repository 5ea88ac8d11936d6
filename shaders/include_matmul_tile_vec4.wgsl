// What an invocation of matmul_tile loads, where rows are aligned: four terms of a row at
// once, or across, four rows of a term. 8 terms of SIDE rows are a load of each.
struct Source {
  first: u32,   // the matrix's offset
  at: u32,      // that of the first load
  term: u32,    // its first term
  step: u32,    // from a term to the next
  across: bool,
  to: u32,      // in shared memory
  row: u32,     // of four
}

// Rows past the end load the last ones, and are not stored.
fn source(local: u32, first: u32, size: u32, base: u32, ld: u32, across: bool) -> Source {
  let row = select(local / 2u, local % (SIDE / 4u) * 4u, across);
  let term = select(local % 2u * 4u, local / (SIDE / 4u), across);
  let step = select(1u, ld, across);
  let at = base + select(min(first + row, size - 1u) * ld, min(first + row, (size - 1u) / 4u * 4u), across) + term * step;
  return Source(base, at, term, step, across, term * PITCH + row / 4u, row % 4u);
}
// Which values of a load i terms on are of terms before the end.
fn before(end: u32, x: Source, i: u32) -> vec4<bool> {
  return x.term + i + select(vec4<u32>(0u, 1u, 2u, 3u), vec4<u32>(0u), x.across) < vec4<u32>(end);
}
// An offset, or that of the matrix where nothing is before the end.
fn or_first(at: u32, x: Source, within: vec4<bool>) -> u32 { return select(x.first, at, within.x); }
fn four_a(at: u32) -> vec4<f32> { return load4_a(at, 4u); }
fn four_b(at: u32) -> vec4<f32> { return load4_b(at, 4u); }

fn store_a(x: Source, s: u32, v: vec4<f32>) {
  let to = x.to + 8u * PITCH * s;
  if (x.across) {
    tile_a[to] = v;
  } else {
    tile_a[to][x.row] = v.x;
    tile_a[to + PITCH][x.row] = v.y;
    tile_a[to + 2u * PITCH][x.row] = v.z;
    tile_a[to + 3u * PITCH][x.row] = v.w;
  }
}
fn store_b(x: Source, s: u32, v: vec4<f32>) {
  let to = x.to + 8u * PITCH * s;
  if (x.across) {
    tile_b[to] = v;
  } else {
    tile_b[to][x.row] = v.x;
    tile_b[to + PITCH][x.row] = v.y;
    tile_b[to + 2u * PITCH][x.row] = v.z;
    tile_b[to + 3u * PITCH][x.row] = v.w;
  }
}
