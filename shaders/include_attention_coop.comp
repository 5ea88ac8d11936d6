// Attention by cooperative matrices. Shared memory holds lines of q, k, v and their
// gradients as COLUMNS values of 16 bits, padded with zeros, in quads of 8; scores as 32
// floats, in quads of 4. A line has one quad of padding, so that 8 lines start in
// different memory banks.

layout(local_size_x_id = 0) in;
layout(constant_id = 0) const uint INVOCATIONS = 64u;
layout(constant_id = 1) const uint TM = 16u; // the device's matrices: [TM,TK]·[TK,TN]
layout(constant_id = 2) const uint TN = 16u;
layout(constant_id = 3) const uint TK = 16u;

const uint PITCH = SPAN + 1u; // from a line to the next; SPAN is a line's quads
const uint SCORES = 9u; // quads of a line of scores

#define ROW_MAJOR gl_CooperativeMatrixLayoutRowMajor
#define COLUMN_MAJOR gl_CooperativeMatrixLayoutColumnMajor
#define SUMS coopmat<float, gl_ScopeSubgroup, TM, TN, gl_MatrixUseAccumulator>
#define LEFT coopmat<HALF, gl_ScopeSubgroup, TM, TK, gl_MatrixUseA>
#define RIGHT coopmat<HALF, gl_ScopeSubgroup, TK, TN, gl_MatrixUseB>

// How many elements of a matrix this invocation has, and one of them.
#define LENGTH(M) uint(M.length())
#define ELEMENT(M, I) M[I]

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
// Whether any, or all, of n keys are in these intervals.
bool any_visible(ivec4 ranges, uint first, uint n) {
  int lo = int(first);
  int hi = int(first + n);
  return (lo < ranges.y && hi > ranges.x) || (lo < ranges.w && hi > ranges.z);
}
bool all_visible(ivec4 ranges, uint first, uint n) {
  int lo = int(first);
  int hi = int(first + n);
  return (lo >= ranges.x && hi <= ranges.y) || (lo >= ranges.z && hi <= ranges.w);
}

const ivec4 NOTHING = ivec4(2147483647, 0, 2147483647, 0);
shared ivec4 seen_by_all; // the smallest intervals that contain those of some queries

// Widens shared intervals, NOTHING at first, to contain those of a query, or narrows them,
// at first NOTHING.yxwz, to what they share with them.
#define WIDEN(SEEN, BY) \
  if (BY.x < BY.y) { \
    atomicMin(SEEN.x, BY.x); \
    atomicMax(SEEN.y, BY.y); \
  } \
  if (BY.z < BY.w) { \
    atomicMin(SEEN.z, BY.z); \
    atomicMax(SEEN.w, BY.w); \
  }
#define NARROW(SEEN, BY) \
  atomicMax(SEEN.x, BY.x); \
  atomicMin(SEEN.y, BY.y); \
  atomicMax(SEEN.z, BY.z); \
  atomicMin(SEEN.w, BY.w);

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

// One value, eight values in 16 bits.
uint16_t near_half(float x) { return uint16_t(pack_near(vec2(x, 0.0))); }
uvec4 near_quad(vec4 a, vec4 b) { return uvec4(pack_near(a.xy), pack_near(a.zw), pack_near(b.xy), pack_near(b.zw)); }
uvec4 pack_quad(vec4 a, vec4 b) { return uvec4(pack_pair(a.xy), pack_pair(a.zw), pack_pair(b.xy), pack_pair(b.zw)); }
