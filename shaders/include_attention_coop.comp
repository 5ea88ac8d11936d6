// Attention by cooperative matrices. Shared memory holds lines of q, k, v and their
// gradients as COLUMNS values of 16 bits, padded with zeros, in quads of 8. A line has one
// quad of padding, so that 8 lines start in different memory banks.

layout(local_size_x_id = 0) in;
layout(constant_id = 0) const uint INVOCATIONS = 64u;
layout(constant_id = 1) const uint TM = 16u; // the device's matrices: [TM,TK]·[TK,TN]
layout(constant_id = 2) const uint TN = 16u;
layout(constant_id = 3) const uint TK = 16u;

const uint SPAN = COLUMNS / 8u; // quads of a line
const uint PITCH = SPAN + 1u;
const uint RESULT = 9u; // quads of a line of 32 results

#define ROW_MAJOR gl_CooperativeMatrixLayoutRowMajor
#define COLUMN_MAJOR gl_CooperativeMatrixLayoutColumnMajor
#define SUMS coopmat<float, gl_ScopeSubgroup, TM, TN, gl_MatrixUseAccumulator>
#define LEFT coopmat<HALF, gl_ScopeSubgroup, TM, TK, gl_MatrixUseA>
#define RIGHT coopmat<HALF, gl_ScopeSubgroup, TK, TN, gl_MatrixUseB>

// How many elements of a matrix this invocation has, and one of them.
#define LENGTH(M) uint(M.length())
#define ELEMENT(M, I) M[I]

// Stores the places of a matrix's elements: their numbers in lines of WEIGHTS elements.
#define PUT_PLACES(LINES_OF) \
  for (uint i = gl_LocalInvocationIndex; i < TM * TN / 4u; i += INVOCATIONS) { \
    LINES_OF[i] = floatBitsToUint(vec4(i / (TN / 4u) * WEIGHTS + i % (TN / 4u) * 4u) + vec4(0.0, 1.0, 2.0, 3.0)); \
  }

// Stores columns 32·C to 32·C + 31 of a subgroup's sums in lines of RESULT quads.
#define PUT_RESULTS(LINES_OF, C) \
  [[unroll]] for (uint r = 0u; r < DOWN; ++r) { \
    [[unroll]] for (uint s = 0u; s < 32u / TN; ++s) { \
      uint quad = (mine + r * TM) * RESULT + s * TN / 4u; \
      coopMatStore(sums[r * SPAN + C * (32u / TN) + s], LINES_OF, quad, RESULT, ROW_MAJOR); \
    } \
  }

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
// head's columns, zeros instead of the last. An invocation has all its loads in flight,
// or with ROLLED, for want of registers, four.
#if IS_ROLLED == 1
#define BRING_LOOP [[dont_unroll]]
#else
#define BRING_LOOP [[unroll]]
#endif
#define BRING(NAME, LINES, AT, FIRST, END, HEAD, LINES_OF, TO) \
  BRING_LOOP for (uint turn = 0u; turn < ((LINES) * SPAN + 4u * INVOCATIONS - 1u) / (4u * INVOCATIONS); ++turn) { \
    uvec4 quads[4]; \
    [[unroll]] for (uint e = 0u; e < 4u; ++e) { \
      uint i = (turn * 4u + e) * INVOCATIONS + gl_LocalInvocationIndex; \
      uint t = (FIRST) + i / SPAN; \
      quads[e] = NAME##_quads[AT(batch, min(t, (END) - 1u), HEAD) + min(i % SPAN, p.head_dim / 8u - 1u)]; \
      quads[e] = t < (END) && i % SPAN < p.head_dim / 8u ? quads[e] : uvec4(0u); \
    } \
    [[unroll]] for (uint e = 0u; e < 4u; ++e) { \
      uint i = (turn * 4u + e) * INVOCATIONS + gl_LocalInvocationIndex; \
      if ((LINES) * SPAN % (4u * INVOCATIONS) == 0u || i < (LINES) * SPAN) { \
        LINES_OF[(TO) + i / SPAN * PITCH + i % SPAN] = quads[e]; \
      } \
    } \
  }

// One value, eight values in 16 bits.
uint16_t near_half(float x) { return uint16_t(pack_near(vec2(x, 0.0))); }
uvec4 near_quad(vec4 a, vec4 b) { return uvec4(pack_near(a.xy), pack_near(a.zw), pack_near(b.xy), pack_near(b.zw)); }
uvec4 pack_quad(vec4 a, vec4 b) { return uvec4(pack_pair(a.xy), pack_pair(a.zw), pack_pair(b.xy), pack_pair(b.zw)); }
