// The row and the first column of an invocation where workgroups of 64, WIDTH
// columns each, lie along a row, one row after another (gridRows).
struct Place { row: u32, col: u32 }
fn place(group: u32, local: u32, cols: u32) -> Place {
  let groups = (cols + WIDTH * 64u - 1u) / (WIDTH * 64u);
  return Place(group / groups, WIDTH * (group % groups * 64u + local));
}
