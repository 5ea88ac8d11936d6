// The offset of a key's row in k and v, which have pages of rows; past the end that of the last row.
fn key_at(batch: u32, t: u32, kv: u32) -> u32 {
  let key = min(t, p.keys - 1u);
  let page = u32(load_pages(batch * (p.keys / p.page_rows) + key / p.page_rows));
  return ((page * p.page_rows + key % p.page_rows) * p.kv_heads + kv) * p.head_dim;
}
