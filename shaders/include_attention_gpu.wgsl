// Attention on a GPU: a workgroup of 16×8 invocations has a tile of TILE rows, of queries
// or of keys, and loops over tiles of 32 of the others. An invocation has ROWS rows, 16
// apart, with their products with 4 of the others, then their sums of 4 columns in slices
// of 32. What the others need goes through shared memory, 32 columns at a time; the next
// ones are loaded meanwhile. Sums stay in registers.

const PITCH: u32 = 9u; // of 8 vec4; 8 would put all rows into the same banks

var<workgroup> rows: array<vec4<f32>, LINES>; // [TILE][PITCH]: 32 columns of rows, or weights of 32 others
var<workgroup> others: array<vec4<f32>, 288>; // [32][PITCH]: 32 columns; other 4·y+j in line y+8·j

fn exp4(x: vec4<f32>) -> vec4<f32> { return vec4<f32>(exp_f32(x.x), exp_f32(x.y), exp_f32(x.z), exp_f32(x.w)); }

// The rows of a tensor of which an invocation copies the same vec4 into shared memory,
// every 16th from its own on: offsets of the first, of the next and of the last that
// there is, and a column.
struct Copied { first: u32, step: u32, last: u32 }
fn row_of(c: Copied, i: u32) -> u32 { return min(c.first + c.step * i, c.last); }

// The vec4 of an invocation in 32 columns from d on; past the end the head's last.
fn column_of(d: u32, local: u32) -> u32 { return min(d + local % 8u * 4u, (p.head_dim - 1u) / 4u * 4u); }

fn store_rows(x: array<vec4<f32>, ROWS>, local: u32) {
  let to = local / 8u * PITCH + local % 8u;
  for (var i = 0u; i < ROWS; i = i + 1u) { rows[to + 16u * PITCH * i] = x[i]; }
}
fn store_others(x: array<vec4<f32>, LOADS>, local: u32) {
  let line = local / 8u;
  let to = (line % 4u * 8u + line / 4u) * PITCH + local % 8u;
  for (var i = 0u; i < LOADS; i = i + 1u) { others[to + 4u * PITCH * i] = x[i]; }
}

// Adds the products of rows with 4 others over some vec4 of columns.
fn with_products(sum: array<vec4<f32>, ROWS>, fours: u32, local: u32) -> array<vec4<f32>, ROWS> {
  let x = local % 16u;
  let y = local / 16u;
  var s = sum;
  for (var c = 0u; c < fours; c = c + 1u) {
    let k0 = others[y * PITCH + c];
    let k1 = others[(y + 8u) * PITCH + c];
    let k2 = others[(y + 16u) * PITCH + c];
    let k3 = others[(y + 24u) * PITCH + c];
    for (var i = 0u; i < ROWS; i = i + 1u) {
      let q = rows[(x + 16u * i) * PITCH + c];
      s[i] = s[i] + q.x * vec4<f32>(k0.x, k1.x, k2.x, k3.x) + q.y * vec4<f32>(k0.y, k1.y, k2.y, k3.y)
        + q.z * vec4<f32>(k0.z, k1.z, k2.z, k3.z) + q.w * vec4<f32>(k0.w, k1.w, k2.w, k3.w);
    }
  }
  return s;
}

// Stores the weights of an invocation's rows for its 4 others.
fn store_weights(w: array<vec4<f32>, ROWS>, local: u32) {
  for (var i = 0u; i < ROWS; i = i + 1u) { rows[(local % 16u + 16u * i) * PITCH + local / 16u] = w[i]; }
}

// Adds weights times 4 columns of some others, in fours.
fn with_weighted(sum: array<vec4<f32>, ROWS>, fours: u32, local: u32) -> array<vec4<f32>, ROWS> {
  let x = local % 16u;
  let y = local / 16u;
  var s = sum;
  for (var c = 0u; c < fours; c = c + 1u) {
    let v0 = others[c * PITCH + y];
    let v1 = others[(c + 8u) * PITCH + y];
    let v2 = others[(c + 16u) * PITCH + y];
    let v3 = others[(c + 24u) * PITCH + y];
    for (var i = 0u; i < ROWS; i = i + 1u) {
      let w = rows[(x + 16u * i) * PITCH + c];
      s[i] = s[i] + w.x * v0 + w.y * v1 + w.z * v2 + w.w * v3;
    }
  }
  return s;
}
