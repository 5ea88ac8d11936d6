// Attention by cooperative matrices. Shared memory holds lines of q, k, v and their
// gradients as COLUMNS values of 16 bits, padded with zeros, in quads of 8; scores as 32
// floats, in quads of 4. A line has one quad of padding, so that 8 lines start in
// different memory banks.

layout(local_size_x_id = 0) in;
layout(constant_id = 0) const uint INVOCATIONS = 64u;
layout(constant_id = 1) const uint TM = 16u; // the device's matrices: [TM,TK]·[TK,TN]
layout(constant_id = 2) const uint TN = 16u;
layout(constant_id = 3) const uint TK = 16u;

const uint SPAN = COLUMNS / 8u; // quads of a line
const uint PITCH = SPAN + 1u;
const uint SCORES = 9u; // quads of a line of scores

#define ROW_MAJOR gl_CooperativeMatrixLayoutRowMajor
#define COLUMN_MAJOR gl_CooperativeMatrixLayoutColumnMajor
#define SUMS coopmat<float, gl_ScopeSubgroup, TM, TN, gl_MatrixUseAccumulator>
#define LEFT coopmat<HALF, gl_ScopeSubgroup, TM, TK, gl_MatrixUseA>
#define RIGHT coopmat<HALF, gl_ScopeSubgroup, TK, TN, gl_MatrixUseB>

// Barrier of a subgroup's accesses to shared memory.
void subgroup_barrier() {
  controlBarrier(gl_ScopeSubgroup, gl_ScopeSubgroup, gl_StorageSemanticsShared, gl_SemanticsAcquireRelease);
}

// The keys visible to a query, [x,y) and [z,w).
ivec4 intervals_of(uint row) {
  return ivec4(intervals[4u * row], intervals[4u * row + 1u], intervals[4u * row + 2u], intervals[4u * row + 3u]);
}
bool is_visible(ivec4 ranges, uint key) {
  int k = int(key);
  return (k >= ranges.x && k < ranges.y) || (k >= ranges.z && k < ranges.w);
}
// Whether any of 32 keys is in these intervals.
bool any_visible(ivec4 ranges, uint first) {
  int lo = int(first);
  int hi = int(first + 32u);
  return (lo < ranges.y && hi > ranges.x) || (lo < ranges.w && hi > ranges.z);
}

const ivec4 NOTHING = ivec4(2147483647, 0, 2147483647, 0);
shared ivec4 seen_by_all; // the smallest intervals that contain those of some queries

// Computes seen_by_all, starting from NOTHING; every invocation calls it for some of the
// queries.
void widen_seen(ivec4 by) {
  if (by.x < by.y) {
    atomicMin(seen_by_all.x, by.x);
    atomicMax(seen_by_all.y, by.y);
  }
  if (by.z < by.w) {
    atomicMin(seen_by_all.z, by.z);
    atomicMax(seen_by_all.w, by.w);
  }
}

// The offset of a line of q or k, and tensors laid out like them, in quads.
uint query_at(uint batch, uint t, uint head) { return ((batch * p.queries + t) * p.heads + head) * (p.head_dim / 8u); }
uint key_at(uint batch, uint t, uint kv) { return ((batch * p.keys + t) * p.kv_heads + kv) * (p.head_dim / 8u); }

// Loads LINES lines, starting at first, into LINES_OF at quad TO; past END, and past the
// head's columns, zeros.
#define BRING(NAME, LINES, AT, FIRST, END, HEAD, LINES_OF, TO) \
  for (uint i = gl_LocalInvocationIndex; i < (LINES) * SPAN; i += INVOCATIONS) { \
    uint t = (FIRST) + i / SPAN; \
    bool there = t < (END) && i % SPAN < p.head_dim / 8u; \
    LINES_OF[(TO) + i / SPAN * PITCH + i % SPAN] = there ? NAME##_quads[AT(batch, t, HEAD) + i % SPAN] : uvec4(0u); \
  }

// Eight values in 16 bits.
uvec4 near_quad(vec4 a, vec4 b) { return uvec4(pack_near(a.xy), pack_near(a.zw), pack_near(b.xy), pack_near(b.zw)); }
uvec4 pack_quad(vec4 a, vec4 b) { return uvec4(pack_pair(a.xy), pack_pair(a.zw), pack_pair(b.xy), pack_pair(b.zw)); }
