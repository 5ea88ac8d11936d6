// The lowest four bits of a word as the fifth bits of four nibbles: one a byte.
fn fifth_bits(w: u32) -> u32 { return ((w & 15u) * 0x02040810u) & 0x10101010u; }
