// The row of a cache that is a ring of p.ring rows, 0 for one that is none.
fn ring_row(row: u32) -> u32 {
  if (p.ring != 0u) { return row % p.ring; }
  return row;
}
