// Position of pair i of the fused projections: token t, a head of queries, keys or
// values, and columns j and j + HeadDim/2 of the head; at is the offset of the first.
struct FusedPair { t: u32, head: u32, j: u32, at: u32 }

fn fused_pair(i: u32) -> FusedPair {
  let half = p.head_dim / 2u;
  let heads = p.heads + 2u * p.kv_heads;
  return FusedPair(i / half / heads, i / half % heads, i % half, i / half * p.head_dim + i % half);
}
