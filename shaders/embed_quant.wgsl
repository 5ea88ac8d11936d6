// An invocation has eight columns of a row.
@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) local: u32) {
  let octets = p.cols / 8u;
  let index = group_index(group, groups) * 64u + local;
  let token = index / octets;
  let col = index % octets * 8u;
  if (token >= tokens()) { return; }
  let row = u32(load_ids(token)) - p.first; // wraps round before the first
  if (row >= p.rows) { return; }
  let slot = load_slots(token);
  let to = token * p.cols + col;
  if (slot >= 0) {
    let source = u32(slot) * p.cols + col;
    store4_y(to, 4u, load4_features(source, 4u));
    store4_y(to + 4u, 4u, load4_features(source + 4u, 4u));
  } else {
    let source = row * p.cols + col;
    let weights = unpack(packed(source), source);
    store4_y(to, 4u, p.scale * weights[0]);
    store4_y(to + 4u, 4u, p.scale * weights[1]);
  }
}
fn load_b(i: u32) -> u32 { return load_table(i); }
