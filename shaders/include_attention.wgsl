// The keys that a query sees, [x,y) and [z,w).
fn intervals_of(row: u32) -> vec4<i32> {
  return vec4<i32>(load_intervals(4u * row), load_intervals(4u * row + 1u), load_intervals(4u * row + 2u), load_intervals(4u * row + 3u));
}

fn sees(seen: vec4<i32>, key: u32) -> bool {
  let k = i32(key);
  return (k >= seen.x && k < seen.y) || (k >= seen.z && k < seen.w);
}

// Whether queries that see these intervals see any of n keys from first on.
fn sees_keys(seen: vec4<i32>, first: u32, n: u32) -> bool {
  let lo = i32(first);
  let hi = i32(first + n);
  return (lo < seen.y && hi > seen.x) || (lo < seen.w && hi > seen.z);
}

// Where a query's row of q, y and lse's like begins; beyond the end the last row.
fn query_at(batch: u32, t: u32, head: u32) -> u32 {
  return ((batch * p.queries + min(t, p.queries - 1u)) * p.heads + head) * p.head_dim;
}
fn key_at(batch: u32, t: u32, kv: u32) -> u32 {
  return ((batch * p.keys + min(t, p.keys - 1u)) * p.kv_heads + kv) * p.head_dim;
}
