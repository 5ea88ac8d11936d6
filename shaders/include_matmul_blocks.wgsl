// Blocks of 4×4 of op(a) and op(b), loaded four contiguous values at a time. With the
// rows of op(a)'s block as the columns of A, and those of op(b)'s as the columns of B,
// the columns of B·A are the rows of the result.

// A block's four loads, the distance to the next four terms, and the number of values of
// each load.
struct Blocks { at: vec4<u32>, next: u32, n: u32 }

const FOUR: vec4<u32> = vec4<u32>(0u, 1u, 2u, 3u);

// Rows and columns past the end load the last ones, and are not stored.
fn blocks(first: u32, size: u32, base: u32, ld: u32, across: bool) -> Blocks {
  let last = size - 1u;
  let start = min(first, last) / 4u * 4u;
  let at = select(min(first + FOUR, vec4<u32>(last)) * ld, FOUR * ld + start, vec4<bool>(across));
  return Blocks(base + at, select(4u, 4u * ld, across), select(4u, size - start, across));
}
fn rows_at(row: u32, batch: u32) -> Blocks { return blocks(row, m(), batch * p.stride_a, p.lda, p.trans_a != 0u); }
fn cols_at(col: u32, batch: u32) -> Blocks { return blocks(col, p.n, batch * p.stride_b, p.ldb, p.trans_b == 0u); }

fn transposed_if(x: mat4x4<f32>, flag: u32) -> mat4x4<f32> {
  let y = transpose(x);
  let yes = vec4<bool>(flag != 0u);
  return mat4x4<f32>(select(x[0], y[0], yes), select(x[1], y[1], yes), select(x[2], y[2], yes), select(x[3], y[3], yes));
}

// The block with the terms from 4·i on.
fn block_a(x: Blocks, i: u32) -> mat4x4<f32> {
  let at = x.at + i * x.next;
  return transposed_if(mat4x4<f32>(load4_a(at.x, x.n), load4_a(at.y, x.n), load4_a(at.z, x.n), load4_a(at.w, x.n)), p.trans_a);
}
fn block_b(x: Blocks, i: u32) -> mat4x4<f32> {
  let at = x.at + i * x.next;
  return transposed_if(mat4x4<f32>(load4_b(at.x, x.n), load4_b(at.y, x.n), load4_b(at.z, x.n), load4_b(at.w, x.n)), p.trans_b);
}

// Term i of four rows or columns.
fn term_a(row: u32, batch: u32, i: u32) -> vec4<f32> {
  let rows = min(row + FOUR, vec4<u32>(m() - 1u));
  let at = batch * p.stride_a + rows * select(p.lda, 1u, p.trans_a != 0u) + i * select(1u, p.lda, p.trans_a != 0u);
  return vec4<f32>(load_a(at.x), load_a(at.y), load_a(at.z), load_a(at.w));
}
fn term_b(col: u32, batch: u32, i: u32) -> vec4<f32> {
  let cols = min(col + FOUR, vec4<u32>(p.n - 1u));
  let at = batch * p.stride_b + cols * select(1u, p.ldb, p.trans_b != 0u) + i * select(p.ldb, 1u, p.trans_b != 0u);
  return vec4<f32>(load_b(at.x), load_b(at.y), load_b(at.z), load_b(at.w));
}
// One term of a block of the result.
fn outer(b: vec4<f32>, a: vec4<f32>) -> mat4x4<f32> { return mat4x4<f32>(b * a.x, b * a.y, b * a.z, b * a.w); }
