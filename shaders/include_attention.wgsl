const MASKED: f32 = -3.0e38; // the score of a key that is not visible to the query

// The keys visible to a query, [x,y) and [z,w).
fn intervals_of(row: u32) -> vec4<i32> {
  return vec4<i32>(load_intervals(4u * row), load_intervals(4u * row + 1u), load_intervals(4u * row + 2u), load_intervals(4u * row + 3u));
}

fn is_visible(ranges: vec4<i32>, key: u32) -> bool {
  let k = i32(key);
  return (k >= ranges.x && k < ranges.y) || (k >= ranges.z && k < ranges.w);
}

// Whether any of n keys, starting at first, is in these intervals.
fn any_visible(ranges: vec4<i32>, first: u32, n: u32) -> bool {
  let lo = i32(first);
  let hi = i32(first + n);
  return (lo < ranges.y && hi > ranges.x) || (lo < ranges.w && hi > ranges.z);
}

// The offset of a query's row in q and y; past the end that of the last row.
fn query_at(batch: u32, t: u32, head: u32) -> u32 {
  return ((batch * p.queries + min(t, p.queries - 1u)) * p.heads + head) * p.head_dim;
}
