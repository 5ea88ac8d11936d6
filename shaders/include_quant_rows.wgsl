// The chunks of formats with blocks of 32: the blocks.
fn chunk_at(chunk: u32, j: u32) -> u32 { return 32u * chunk + 4u * j; }
