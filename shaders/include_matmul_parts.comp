// Split-K: workgroups write sums to scratch, in matrices of whole tiles of 128×128
// [p.parts][p.batch], and a second pass adds up the parts in order.
#define IS_SPLIT 1

// Terms of a part: a multiple of every tile's depth.
uint part_depth() { return ((k() + p.parts - 1u) / p.parts + 63u) / 64u * 64u; }
// Number of parts that have terms.
uint parts() { return (k() + max(part_depth(), 1u) - 1u) / max(part_depth(), 1u); }
// The first term of a part and its end.
uvec2 terms(uint part) { return uvec2(part * part_depth(), min((part + 1u) * part_depth(), k())); }

uint scratch_pitch() { return (p.n + 127u) / 128u * 128u; }
uint scratch_at(uint part, uint batch, uint row, uint col) {
  uint lines = (p.m_max + 127u) / 128u * 128u;
  return ((part * p.batch + batch) * lines + row) * scratch_pitch() + col;
}

// The second pass: a workgroup adds up the parts of STRIP quads.
void add_parts(uint invocations) {
  uint quads = (p.n + 3u) / 4u;
  for (uint e = gl_LocalInvocationIndex; e < STRIP; e += invocations) {
    uint quad = group_index() * STRIP + e;
    uint row = quad / quads % p.m_max;
    uint col = quad % quads * 4u;
    uint batch = quad / quads / p.m_max;
    if (batch >= p.batch || row >= m()) { continue; }
    vec4 sum = vec4(0.0);
    for (uint part = 0u; part < parts(); ++part) { sum += scratch_quads[scratch_at(part, batch, row, col) / 4u]; }
    finish(sum.xy, row, col, batch);
    finish(sum.zw, row, col + 2u, batch);
  }
}
