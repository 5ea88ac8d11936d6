// The offset of a feature of a patch in images [N,C,Height,Width].
fn pixel_of(row: u32, feature: u32) -> u32 {
  let across = p.width / p.side;
  let patches = p.height / p.side * across;
  let at = row % patches;
  let line = feature / p.side; // channel·P + line of the patch
  let channel = row / patches * p.channels + line / p.side;
  let y = at / across * p.side + line % p.side;
  return (channel * p.height + y) * p.width + at % across * p.side + feature % p.side;
}
