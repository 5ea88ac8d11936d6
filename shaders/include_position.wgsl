// The row and the first column of an invocation, with workgroups of 64, WIDTH columns
// each, along every row (gridRows).
struct Position { row: u32, col: u32 }
fn position(group: u32, local: u32, cols: u32) -> Position {
  let groups = (cols + WIDTH * 64u - 1u) / (WIDTH * 64u);
  return Position(group / groups, WIDTH * (group % groups * 64u + local));
}
