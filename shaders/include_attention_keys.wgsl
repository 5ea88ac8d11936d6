// The offset of a key's row in k and v; past the end that of the last row.
fn key_at(batch: u32, t: u32, kv: u32) -> u32 {
  return ((batch * p.keys + min(t, p.keys - 1u)) * p.kv_heads + kv) * p.head_dim;
}
