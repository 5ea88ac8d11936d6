// attention_row for GPUs and heads of a multiple of 4 columns, four of which are loaded
// together. Few workgroups run in decoding, so that their latency matters: invocations
// that a row of v does not need take other keys.
alias Columns = vec4<f32>;
const LOAD: u32 = 4u;

fn columns_q(i: u32) -> Columns { return load4_q(i, 4u); }
fn columns_k(i: u32) -> Columns { return load4_k(i, 4u); }
fn columns_v(i: u32) -> Columns { return load4_v(i, 4u); }
fn store_columns(i: u32, y: Columns) { store4_y(i, 4u, y); }
fn dot_columns(a: Columns, b: Columns) -> f32 { return dot(a, b); }
fn lanes_of_row() -> u32 { return min(p.head_dim / 4u, GROUP); }

var<workgroup> partial: array<Columns, GROUP>;

// The sum over the slices, valid in the first one.
fn add_slices(sum: Columns, local: u32, lanes: u32) -> Columns {
  partial[local] = sum;
  workgroupBarrier();
  var y = Columns(0.0);
  for (var s = local % lanes; s < GROUP / lanes * lanes; s = s + lanes) { y = y + partial[s]; }
  return y;
}
