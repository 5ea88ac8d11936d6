// For devices with cooperative matrices: a workgroup computes a tile of BM rows and BN
// columns of c, each of its subgroups WM by WN of that, BK terms at a time. Double
// buffering: while one half of the shared memory is multiplied, the next terms are loaded
// into registers, and stored to the other half.
//
// Tiles have their matrices' layout in shared memory, in lines of quads of 8 values. A
// line has one quad of padding, so that 8 lines start in different memory banks.

layout(local_size_x_id = 0) in;
layout(constant_id = 0) const uint INVOCATIONS = 128u;
layout(constant_id = 1) const uint TM = 16u; // the device's matrices: [TM,TK]·[TK,TN]
layout(constant_id = 2) const uint TN = 16u;
layout(constant_id = 3) const uint TK = 16u;
layout(constant_id = 4) const uint TRANS_A = 0u;
layout(constant_id = 5) const uint TRANS_B = 0u;
layout(constant_id = 6) const uint PASS = 0u;

const uint QUADS_A = BM * BK / 8u;
const uint QUADS_B = BN * BK / 8u;
const uint TILE_A = max(BM * (BK / 8u + 1u), BK * (BM / 8u + 1u));
const uint TILE_B = max(BN * (BK / 8u + 1u), BK * (BN / 8u + 1u));
const uint TILE_QUADS = TILE_A + TILE_B;
const uint SPAN_A = (TRANS_A == 0u ? BK : BM) / 8u; // quads of a line
const uint SPAN_B = (TRANS_B == 0u ? BN : BK) / 8u;
const uint PITCH_A = SPAN_A + 1u;
const uint PITCH_B = SPAN_B + 1u;
const uint EACH_A = (QUADS_A + INVOCATIONS - 1u) / INVOCATIONS; // quads an invocation fetches
const uint EACH_B = (QUADS_B + INVOCATIONS - 1u) / INVOCATIONS;
const int LAYOUT_A = TRANS_A == 0u ? gl_CooperativeMatrixLayoutRowMajor : gl_CooperativeMatrixLayoutColumnMajor;
const int LAYOUT_B = TRANS_B == 0u ? gl_CooperativeMatrixLayoutRowMajor : gl_CooperativeMatrixLayoutColumnMajor;
const uint DOWN = WM / TM; // matrices of a subgroup
const uint ACROSS = WN / TN;
const uint RESULT_PITCH = WN / 4u + 1u;

shared uvec4 tiles[2u * TILE_QUADS];

// How many of 8 values, starting at at, are before the end.
uint left(uint at, uint end) { return at < end ? min(end - at, 8u) : 0u; }

uvec4 first(uvec4 quad, uint n) {
  uvec4 low = uvec4(0u, 2u, 4u, 6u);
  return mix(uvec4(0u), mix(quad & 0xffffu, quad, greaterThan(uvec4(n), low + 1u)), greaterThan(uvec4(n), low));
}

// Eight values, starting at element at, of which n exist; the others are 0.
#if IS_WIDE == 1
#define FETCH(NAME) uvec4 fetch_##NAME(uint at, uint n) { return n == 0u ? uvec4(0u) : n == 8u ? NAME##_quads[at / 8u] : first(NAME##_quads[at / 8u], n); }
#else
#define FETCH(NAME) \
  uint word_##NAME(uint at, bool there) { return there ? NAME##_words[at / 2u] : 0u; } \
  uvec4 fetch_##NAME(uint at, uint n) { \
    return first(uvec4(word_##NAME(at, n > 0u), word_##NAME(at + 2u, n > 2u), word_##NAME(at + 4u, n > 4u), word_##NAME(at + 6u, n > 6u)), n); \
  }
#endif
FETCH(a)
FETCH(b)

uvec4 next_a[EACH_A];
uvec4 next_b[EACH_B];

// Loads the tiles of the terms starting at i.
void fetch(uint row, uint col, uint batch, uint i, uint rows, uint depth) {
  [[unroll]] for (uint e = 0u; e < EACH_A; ++e) {
    uint quad = e * INVOCATIONS + gl_LocalInvocationIndex;
    uint line = quad / SPAN_A;
    uint at = quad % SPAN_A * 8u;
    if (TRANS_A == 0u) {
      uint n = row + line < rows && quad < QUADS_A ? left(i + at, depth) : 0u;
      next_a[e] = fetch_a(batch * p.stride_a + (row + line) * p.lda + i + at, n);
    } else {
      uint n = i + line < depth && quad < QUADS_A ? left(row + at, rows) : 0u;
      next_a[e] = fetch_a(batch * p.stride_a + (i + line) * p.lda + row + at, n);
    }
  }
  [[unroll]] for (uint e = 0u; e < EACH_B; ++e) {
    uint quad = e * INVOCATIONS + gl_LocalInvocationIndex;
    uint line = quad / SPAN_B;
    uint at = quad % SPAN_B * 8u;
    if (TRANS_B == 0u) {
      uint n = i + line < depth && quad < QUADS_B ? left(col + at, p.n) : 0u;
      next_b[e] = fetch_b(batch * p.stride_b + (i + line) * p.ldb + col + at, n);
    } else {
      uint n = col + line < p.n && quad < QUADS_B ? left(i + at, depth) : 0u;
      next_b[e] = fetch_b(batch * p.stride_b + (col + line) * p.ldb + i + at, n);
    }
  }
}

void share(uint base) {
  [[unroll]] for (uint e = 0u; e < EACH_A; ++e) {
    uint quad = e * INVOCATIONS + gl_LocalInvocationIndex;
    if (quad < QUADS_A) { tiles[base + quad / SPAN_A * PITCH_A + quad % SPAN_A] = next_a[e]; }
  }
  [[unroll]] for (uint e = 0u; e < EACH_B; ++e) {
    uint quad = e * INVOCATIONS + gl_LocalInvocationIndex;
    if (quad < QUADS_B) { tiles[base + TILE_A + quad / SPAN_B * PITCH_B + quad % SPAN_B] = next_b[e]; }
  }
}

void main() {
#if IS_SPLIT == 1
  if (PASS == 1u) { add_parts(INVOCATIONS); return; }
#endif
  Tile tile = tile_of(group_index(), BM, BN);
  uint row = tile.row;
  uint col = tile.col;
  uint batch = tile.batch;
  uint rows = m();
  uvec2 range = terms(tile.part);
  uint depth = range.y;
  if (tile.part >= parts() || row >= rows) { return; }
  uint warp_row = gl_SubgroupID % (BM / WM) * WM;
  uint warp_col = gl_SubgroupID / (BM / WM) * WN;

  coopmat<float, gl_ScopeSubgroup, TM, TN, gl_MatrixUseAccumulator> sums[DOWN * ACROSS];
  [[unroll]] for (uint i = 0u; i < DOWN * ACROSS; ++i) {
    sums[i] = coopmat<float, gl_ScopeSubgroup, TM, TN, gl_MatrixUseAccumulator>(0.0);
  }
  fetch(row, col, batch, range.x, rows, depth);
  uint base = 0u;
  for (uint i = range.x; i < depth; i += BK) {
    share(base);
    barrier();
    if (i + BK < depth) { fetch(row, col, batch, i + BK, rows, depth); }
    [[unroll]] for (uint j = 0u; j < BK; j += TK) {
      coopmat<HALF, gl_ScopeSubgroup, TM, TK, gl_MatrixUseA> left_matrix[DOWN];
      [[unroll]] for (uint r = 0u; r < DOWN; ++r) {
        uint at = warp_row + r * TM;
        coopMatLoad(left_matrix[r], tiles, base + (TRANS_A == 0u ? at * PITCH_A + j / 8u : j * PITCH_A + at / 8u), PITCH_A, LAYOUT_A);
      }
      [[unroll]] for (uint s = 0u; s < ACROSS; ++s) {
        uint at = warp_col + s * TN;
        coopmat<HALF, gl_ScopeSubgroup, TK, TN, gl_MatrixUseB> right_matrix;
        coopMatLoad(right_matrix, tiles, base + TILE_A + (TRANS_B == 0u ? j * PITCH_B + at / 8u : at * PITCH_B + j / 8u), PITCH_B, LAYOUT_B);
        [[unroll]] for (uint r = 0u; r < DOWN; ++r) {
          sums[r * ACROSS + s] = coopMatMulAdd(left_matrix[r], right_matrix, sums[r * ACROSS + s]);
        }
      }
    }
    base = TILE_QUADS - base;
  }

#if IS_SPLIT == 1
  [[unroll]] for (uint r = 0u; r < DOWN; ++r) {
    [[unroll]] for (uint s = 0u; s < ACROSS; ++s) {
      uint at = scratch_at(tile.part, batch, row + warp_row + r * TM, col + warp_col + s * TN);
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
      finish(uintBitsToFloat(x % 4u == 0u ? quad.xy : quad.zw), row + warp_row + r * TM + y, col + warp_col + x, batch);
    }
    controlBarrier(gl_ScopeSubgroup, gl_ScopeSubgroup, gl_StorageSemanticsShared, gl_SemanticsAcquireRelease);
  }
#endif
}
