// The row and the column of an invocation where workgroups of 64 lie along the
// columns of a row, one row after another (gridRows).
struct Place { row: u32, col: u32 }
fn place(group: u32, local: u32, cols: u32) -> Place {
  let groups = (cols + 63u) / 64u;
  return Place(group / groups, group % groups * 64u + local);
}
