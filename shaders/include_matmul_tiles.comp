// A workgroup's tile: its first row and column, its matrix of the batch and its part of
// the depth, out of range where there is no such tile. The tiles of a matrix are numbered
// down their columns within bands of 16 rows of tiles: the workgroups that run at the
// same time, some 130 to 260 on a large GPU, then share about as many rows of a as
// columns of b in the cache.
struct Tile { uint row, col, batch, part; };
const uint BAND = 16u;

Tile tile_of(uint index, uint rows, uint cols) {
  uint down = (p.m_max + rows - 1u) / rows;
  uint across = (p.n + cols - 1u) / cols;
  uint matrix = index / (down * across);
  uint tile = index % (down * across);
  uint band = tile / (BAND * across);
  uint within = tile % (BAND * across);
  uint height = min(down - band * BAND, BAND);
  return Tile((band * BAND + within % height) * rows, within / height * cols, matrix % p.batch, matrix / p.batch);
}
