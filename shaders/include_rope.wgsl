// Columns i and i + HeadDim/2 of a head, which RoPE rotates together, or WIDTH
// neighbouring pairs.
struct Pair { first: Vec, second: Vec }

// Pair i of a head of token t, rotated by the angle of its position; with sign -1 by
// the opposite angle.
fn rotate(x: Pair, t: u32, i: u32, sign: f32) -> Pair {
  let angles = u32(load_positions(t)) * p.head_dim + i;
  let c = loadv_table(angles);
  let s = sign * loadv_table(angles + p.head_dim / 2u);
  return Pair(x.first * c - x.second * s, x.second * c + x.first * s);
}
