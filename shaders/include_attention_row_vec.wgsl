// attention_row for any head of up to 4·GROUP columns, WIDTH of which are loaded together.
alias Columns = Vec;
const LOAD: u32 = WIDTH;

fn columns_q(i: u32) -> Columns { return loadv_q(i); }
fn columns_k(i: u32) -> Columns { return loadv_k(i); }
fn columns_v(i: u32) -> Columns { return loadv_v(i); }
fn store_columns(i: u32, y: Columns) { storev_y(i, y); }
fn dot_columns(a: Columns, b: Columns) -> f32 { return lane_sum(a * b); }
fn lanes_of_row() -> u32 { return GROUP; }
fn add_slices(sum: Columns, local: u32, lanes: u32) -> Columns { return sum; }
