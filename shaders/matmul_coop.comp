// For devices with cooperative matrices: a workgroup computes a tile of BM rows and BN
// columns of c, BK terms at a time, each of its subgroups DOWN by ACROSS matrices of that.
// While the terms in shared memory are multiplied, the next ones are loaded into registers,
// and with two STAGES stored to the other half of it: one barrier a round instead of two.
//
// Tiles have their matrices' layout in shared memory, in lines of quads of 8 values. A
// line has one quad of padding, so that 8 lines start in different memory banks. A
// workgroup has a power of two of invocations, at least as many as a line has quads.

layout(local_size_x_id = 0) in;
layout(constant_id = 0) const uint INVOCATIONS = 128u;
layout(constant_id = 1) const uint TM = 16u; // the device's matrices: [TM,TK]·[TK,TN]
layout(constant_id = 2) const uint TN = 16u;
layout(constant_id = 3) const uint TK = 16u;
layout(constant_id = 4) const uint TRANS_A = 0u;
layout(constant_id = 5) const uint TRANS_B = 0u;
layout(constant_id = 6) const uint PASS = 0u;

const uint WM = DOWN * TM; // of c, computed by a subgroup
const uint WN = ACROSS * TN;
const uint TILE_A = max(BM * (BK / 8u + 1u), BK * (BM / 8u + 1u)); // quads
const uint TILE_B = max(BN * (BK / 8u + 1u), BK * (BN / 8u + 1u));
const uint TILE_QUADS = TILE_A + TILE_B;
const uint LINES_A = TRANS_A == 0u ? BM : BK;
const uint LINES_B = TRANS_B == 0u ? BK : BN;
const uint SPAN_A = (TRANS_A == 0u ? BK : BM) / 8u; // quads of a line
const uint SPAN_B = (TRANS_B == 0u ? BN : BK) / 8u;
const uint PITCH_A = SPAN_A + 1u;
const uint PITCH_B = SPAN_B + 1u;
const uint STEP_A = INVOCATIONS / SPAN_A; // lines that the workgroup loads at once
const uint STEP_B = INVOCATIONS / SPAN_B;
const uint EACH_A = (LINES_A + STEP_A - 1u) / STEP_A; // quads that an invocation loads
const uint EACH_B = (LINES_B + STEP_B - 1u) / STEP_B;
const int LAYOUT_A = TRANS_A == 0u ? gl_CooperativeMatrixLayoutRowMajor : gl_CooperativeMatrixLayoutColumnMajor;
const int LAYOUT_B = TRANS_B == 0u ? gl_CooperativeMatrixLayoutRowMajor : gl_CooperativeMatrixLayoutColumnMajor;
const uint RESULT_PITCH = WN / 4u + 1u;
const uint RESULT_QUADS = BM / DOWN * (BN / (ACROSS * 8u) * (ACROSS * 2u + 1u)); // with matrices of 8 columns

shared uvec4 tiles[max(STAGES * TILE_QUADS, RESULT_QUADS)];

// How many of 8 values, starting at at, are before the end.
uint left(uint at, uint end) { return at < end ? min(end - at, 8u) : 0u; }

uvec4 first(uvec4 quad, uint n) {
  uvec4 low = uvec4(0u, 2u, 4u, 6u);
  return mix(uvec4(0u), mix(quad & 0xffffu, quad, greaterThan(uvec4(n), low + 1u)), greaterThan(uvec4(n), low));
}

// WHOLE_x loads eight values, starting at element AT. PART_x loads the first n of them,
// the others are 0.
#if IS_WIDE == 1
#define WHOLE(NAME, AT) NAME##_quads[(AT) / 8u]
#define PART(NAME) \
  uvec4 part_##NAME(uint at, uint n) { return n == 0u ? uvec4(0u) : first(NAME##_quads[at / 8u], n); }
#else
#define WHOLE(NAME, AT) \
  uvec4(NAME##_words[(AT) / 2u], NAME##_words[(AT) / 2u + 1u], NAME##_words[(AT) / 2u + 2u], NAME##_words[(AT) / 2u + 3u])
#define PART(NAME) \
  uint word_##NAME(uint at, bool there) { return there ? NAME##_words[at / 2u] : 0u; } \
  uvec4 part_##NAME(uint at, uint n) { \
    return first(uvec4(word_##NAME(at, n > 0u), word_##NAME(at + 2u, n > 2u), \
                       word_##NAME(at + 4u, n > 4u), word_##NAME(at + 6u, n > 6u)), n); \
  }
#endif
PART(a)
PART(b)

uvec4 next_a[EACH_A];
uvec4 next_b[EACH_B];

// Loads this invocation's part of a tile whose first line and element of a line are
// start, in a matrix that ends at end; a tile inside of it without checks.
#define FETCH(NAME, X) \
  void fetch_##NAME(uint at, uint pitch, uvec2 start, uvec2 end) { \
    uvec2 mine = uvec2(gl_LocalInvocationIndex / SPAN_##X, gl_LocalInvocationIndex % SPAN_##X * 8u); \
    at += (start.x + mine.x) * pitch + start.y + mine.y; \
    if (all(lessThanEqual(start + uvec2(LINES_##X, 8u * SPAN_##X), end))) { \
      [[unroll]] for (uint e = 0u; e < EACH_##X; ++e) { \
        if (EACH_##X * STEP_##X == LINES_##X || mine.x + e * STEP_##X < LINES_##X) { \
          next_##NAME[e] = WHOLE(NAME, at + e * STEP_##X * pitch); \
        } \
      } \
    } else { \
      [[unroll]] for (uint e = 0u; e < EACH_##X; ++e) { \
        uint line = mine.x + e * STEP_##X; \
        uint n = line < LINES_##X && start.x + line < end.x ? left(start.y + mine.y, end.y) : 0u; \
        next_##NAME[e] = part_##NAME(at + e * STEP_##X * pitch, n); \
      } \
    } \
  }
FETCH(a, A)
FETCH(b, B)

// Loads the tiles of the terms starting at i.
void fetch(Tile tile, uint i, uint rows, uint depth) {
  uvec2 at_a = uvec2(tile.row, i);
  uvec2 end_a = uvec2(rows, depth);
  uvec2 at_b = uvec2(tile.col, i);
  uvec2 end_b = uvec2(p.n, depth);
  fetch_a(tile.batch * p.stride_a, p.lda, TRANS_A == 0u ? at_a : at_a.yx, TRANS_A == 0u ? end_a : end_a.yx);
  fetch_b(tile.batch * p.stride_b, p.ldb, TRANS_B == 0u ? at_b.yx : at_b, TRANS_B == 0u ? end_b.yx : end_b);
}

#define SHARE(NAME, X, BASE) \
  [[unroll]] for (uint e = 0u; e < EACH_##X; ++e) { \
    uint line = gl_LocalInvocationIndex / SPAN_##X + e * STEP_##X; \
    if (EACH_##X * STEP_##X == LINES_##X || line < LINES_##X) { \
      tiles[(BASE) + line * PITCH_##X + gl_LocalInvocationIndex % SPAN_##X] = next_##NAME[e]; \
    } \
  }

void main() {
#if IS_SPLIT == 1
  if (PASS == 1u) { add_parts(INVOCATIONS); return; }
#endif
  Tile tile = tile_of(group_index(), BM, BN);
  uint rows = m();
  uvec2 range = terms(tile.part);
  uint depth = range.y;
  if (tile.part >= parts() || tile.row >= rows) { return; }
  uint warp_row = gl_SubgroupID % (BM / WM) * WM;
  uint warp_col = gl_SubgroupID / (BM / WM) * WN;

  coopmat<float, gl_ScopeSubgroup, TM, TN, gl_MatrixUseAccumulator> sums[DOWN * ACROSS];
  [[unroll]] for (uint r = 0u; r < DOWN; ++r) {
    [[unroll]] for (uint s = 0u; s < ACROSS; ++s) {
      sums[r * ACROSS + s] = coopmat<float, gl_ScopeSubgroup, TM, TN, gl_MatrixUseAccumulator>(0.0);
    }
  }
  fetch(tile, range.x, rows, depth);
  uint base = 0u;
  for (uint i = range.x; i < depth; i += BK) {
    SHARE(a, A, base)
    SHARE(b, B, base + TILE_A)
    barrier();
    if (i + BK < depth) { fetch(tile, i + BK, rows, depth); }
    [[unroll]] for (uint j = 0u; j < BK; j += TK) {
      coopmat<HALF, gl_ScopeSubgroup, TK, TN, gl_MatrixUseB> right_matrix[ACROSS];
      [[unroll]] for (uint s = 0u; s < ACROSS; ++s) {
        uint at = warp_col + s * TN;
        uint from = TRANS_B == 0u ? j * PITCH_B + at / 8u : at * PITCH_B + j / 8u;
        coopMatLoad(right_matrix[s], tiles, base + TILE_A + from, PITCH_B, LAYOUT_B);
      }
      [[unroll]] for (uint r = 0u; r < DOWN; ++r) {
        uint at = warp_row + r * TM;
        coopmat<HALF, gl_ScopeSubgroup, TM, TK, gl_MatrixUseA> left_matrix;
        uint from = TRANS_A == 0u ? at * PITCH_A + j / 8u : j * PITCH_A + at / 8u;
        coopMatLoad(left_matrix, tiles, base + from, PITCH_A, LAYOUT_A);
        [[unroll]] for (uint s = 0u; s < ACROSS; ++s) {
          sums[r * ACROSS + s] = coopMatMulAdd(left_matrix, right_matrix[s], sums[r * ACROSS + s]);
        }
      }
    }
#if IS_STAGES == 1
    barrier();
#else
    base = TILE_QUADS - base;
#endif
  }

#if IS_SPLIT == 1
  [[unroll]] for (uint r = 0u; r < DOWN; ++r) {
    [[unroll]] for (uint s = 0u; s < ACROSS; ++s) {
      uint at = scratch_at(tile.part, tile.batch, tile.row + warp_row + r * TM, tile.col + warp_col + s * TN);
      coopMatStore(sums[r * ACROSS + s], scratch, at, scratch_pitch(), gl_CooperativeMatrixLayoutRowMajor);
    }
  }
#else
  // Each subgroup distributes its results to its invocations through the tiles' shared
  // memory, a line of matrices at a time.
  barrier();
  uint mine = gl_SubgroupID * TM * RESULT_PITCH;
  [[unroll]] for (uint r = 0u; r < DOWN; ++r) {
    [[unroll]] for (uint s = 0u; s < ACROSS; ++s) {
      coopMatStore(sums[r * ACROSS + s], tiles, mine + s * TN / 4u, RESULT_PITCH, gl_CooperativeMatrixLayoutRowMajor);
    }
    controlBarrier(gl_ScopeSubgroup, gl_ScopeSubgroup, gl_StorageSemanticsShared, gl_SemanticsAcquireRelease);
    for (uint e = gl_SubgroupInvocationID; e < TM * WN / 2u; e += gl_SubgroupSize) {
      uint y = e / (WN / 2u);
      uint x = e % (WN / 2u) * 2u;
      uvec4 quad = tiles[mine + y * RESULT_PITCH + x / 4u];
      vec2 pair = uintBitsToFloat(x % 4u == 0u ? quad.xy : quad.zw);
      finish(pair, tile.row + warp_row + r * TM + y, tile.col + warp_col + x, tile.batch);
    }
    controlBarrier(gl_ScopeSubgroup, gl_ScopeSubgroup, gl_StorageSemanticsShared, gl_SemanticsAcquireRelease);
  }
#endif
}
