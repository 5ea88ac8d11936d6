// A workgroup shares a tile's scores. Each invocation has BLOCKS² blocks of 4×4 of them,
// 4·SIDE apart, and as many of the results in each of SLICES slices of 32 columns; a head
// with more columns takes several workgroups, each with all of the scores.

// The offset in shared memory [32 rows][8], each 4 columns, of the blocks of an
// invocation whose first row is x and first column y.
fn at_weights(x: u32, y: u32, r: u32, c: u32) -> u32 { return (x + 4u * SIDE * r) * 8u + y / 4u + SIDE * c; }
