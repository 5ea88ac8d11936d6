// A workgroup's tile: its first row and column, its matrix of the batch and its part of
// the depth, out of range where there is no such tile. The tiles of a matrix are numbered
// down their columns within bands of 16 rows of tiles: the workgroups that run at the
// same time, some 130 to 260 on a large GPU, then share about as many rows of a as
// columns of b in the cache.
struct Tile { row: u32, col: u32, batch: u32, part: u32 }
const BAND: u32 = 16u;

fn tile_of(index: u32, rows: u32, cols: u32) -> Tile {
  let down = (p.m_max + rows - 1u) / rows;
  let across = (p.n + cols - 1u) / cols;
  let matrix = index / (down * across);
  let tile = index % (down * across);
  let band = tile / (BAND * across);
  let within = tile % (BAND * across);
  let height = min(down - band * BAND, BAND);
  return Tile((band * BAND + within % height) * rows, within / height * cols, matrix % p.batch, matrix / p.batch);
}
