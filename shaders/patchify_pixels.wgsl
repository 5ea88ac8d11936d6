@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) local: u32) {
  let features = p.channels * p.side * p.side;
  let at = position(group_index(group, groups), local, features);
  if (at.row >= rows() || at.col >= features) { return; }
  let grid = p.size / p.side;
  let image = at.row / (grid * grid);
  let cell = at.row % (grid * grid);
  let channel = at.col / (p.side * p.side);
  let y = cell / grid * p.side + at.col / p.side % p.side;
  let x = cell % grid * p.side + at.col % p.side;
  let byte = ((image * p.size + y) * p.size + x) * p.channels + channel;
  let level = (load_pixels(byte / 4u) >> (byte % 4u * 8u)) & 0xffu;
  store_y(at.row * features + at.col, load_table(level));
}
