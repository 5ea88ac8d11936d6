// Pair i of the gradient of a head: queries' heads first, then keys'.
fn load_dqk(t: u32, head: u32, i: u32) -> Pair {
  let half = p.head_dim / 2u;
  if (head < p.heads) {
    let at = (t * p.heads + head) * p.head_dim + i;
    return Pair(loadv_dq(at), loadv_dq(at + half));
  }
  let at = (t * p.kv_heads + head - p.heads) * p.head_dim + i;
  return Pair(loadv_dk(at), loadv_dk(at + half));
}
