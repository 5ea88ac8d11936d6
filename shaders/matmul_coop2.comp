// For devices with cooperative matrices of workgroup scope: a workgroup computes a tile
// of BM rows and BN columns of c as one matrix. The driver loads the tiles of a and b,
// with zeros past the end of a matrix.

layout(local_size_x = INVOCATIONS) in;
layout(constant_id = 0) const uint TRANS_A = 0u;
layout(constant_id = 1) const uint TRANS_B = 0u;
layout(constant_id = 2) const uint EIGHTS = 0u; // lines start at multiples of 16 bytes
layout(constant_id = 3) const uint PASS = 0u;

#define CLAMPED gl_CooperativeMatrixClampModeConstantNV

// States to the compiler what a length is a multiple of.
uint aligned(uint n) { return EIGHTS != 0u ? n & ~7u : n; }

// The value of c at an element of the tile, given the sum.
float element(const in uint32_t y, const in uint32_t x, const in float sum, const in uint32_t row, const in uint32_t col, const in uint32_t batch) {
  if (row + y >= m() || col + x >= p.n) { return 0.0; }
  uint at = batch * p.stride_c + (row + y) * p.ldc + col + x;
  float value = p.alpha * sum;
  if (p.bias != 0u) { value += bias[col + x]; }
  if (p.residual != 0u) { value += residual[at]; }
#if HALVES_c == 1
  if (p.beta != 0.0) { value += p.beta * half_float(uint(c_bits[at])); }
  c_bits[at] = uint16_t(half_bits(value));
#else
  if (p.beta != 0.0) { value += p.beta * c[at]; }
#endif
  return value;
}

// Adds the terms to the sums, BK at a time. LOAD_A and LOAD_B load a tile.
#define MULTIPLY(LAYOUT_A, LAYOUT_B) \
  for (uint i = range.x; i < depth; i += BK) { \
    coopmat<HALF, gl_ScopeWorkgroup, BM, BK, gl_MatrixUseA> left_matrix; \
    coopmat<HALF, gl_ScopeWorkgroup, BK, BN, gl_MatrixUseB> right_matrix; \
    if (TRANS_A == 0u) { coopMatLoadTensorNV(left_matrix, a, at_a, sliceTensorLayoutNV(LAYOUT_A, row, BM, i, BK)); } \
    else { coopMatLoadTensorNV(left_matrix, a, at_a, sliceTensorLayoutNV(LAYOUT_A, i, BK, row, BM), transposed); } \
    if (TRANS_B == 0u) { coopMatLoadTensorNV(right_matrix, b, at_b, sliceTensorLayoutNV(LAYOUT_B, i, BK, col, BN)); } \
    else { coopMatLoadTensorNV(right_matrix, b, at_b, sliceTensorLayoutNV(LAYOUT_B, col, BN, i, BK), transposed); } \
    sums = coopMatMulAdd(left_matrix, right_matrix, sums); \
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
  uint at_a = batch * aligned(p.stride_a);
  uint at_b = batch * aligned(p.stride_b);
  tensorViewNV<2, false, 1, 0> transposed = createTensorViewNV(2, false, 1, 0);

  coopmat<float, gl_ScopeWorkgroup, BM, BN, gl_MatrixUseAccumulator> sums = coopmat<float, gl_ScopeWorkgroup, BM, BN, gl_MatrixUseAccumulator>(0.0);
  uint rows_a = TRANS_A == 0u ? rows : depth;
  uint cols_a = TRANS_A == 0u ? depth : rows;
  uint rows_b = TRANS_B == 0u ? depth : p.n;
  uint cols_b = TRANS_B == 0u ? p.n : depth;
  if (row + BM <= rows && col + BN <= p.n && depth % BK == 0u) {
    tensorLayoutNV<2> whole_a = createTensorLayoutNV(2);
    tensorLayoutNV<2> whole_b = createTensorLayoutNV(2);
    whole_a = setTensorLayoutDimensionNV(whole_a, rows_a, cols_a);
    whole_b = setTensorLayoutDimensionNV(whole_b, rows_b, cols_b);
    whole_a = setTensorLayoutStrideNV(whole_a, aligned(p.lda), 1u);
    whole_b = setTensorLayoutStrideNV(whole_b, aligned(p.ldb), 1u);
    MULTIPLY(whole_a, whole_b)
  } else {
    tensorLayoutNV<2, CLAMPED> edge_a = createTensorLayoutNV(2, CLAMPED);
    tensorLayoutNV<2, CLAMPED> edge_b = createTensorLayoutNV(2, CLAMPED);
    edge_a = setTensorLayoutDimensionNV(edge_a, rows_a, cols_a);
    edge_b = setTensorLayoutDimensionNV(edge_b, rows_b, cols_b);
    edge_a = setTensorLayoutStrideNV(edge_a, aligned(p.lda), 1u);
    edge_b = setTensorLayoutStrideNV(edge_b, aligned(p.ldb), 1u);
    MULTIPLY(edge_a, edge_b)
  }

#if IS_SPLIT == 1
  tensorLayoutNV<2> sheet = createTensorLayoutNV(2);
  sheet = setTensorLayoutDimensionNV(sheet, (rows + BM - 1u) / BM * BM, scratch_pitch());
  coopMatStoreTensorNV(sums, scratch, scratch_at(tile.part, batch, 0u, 0u), sliceTensorLayoutNV(sheet, row, BM, col, BN));
#else
  coopMatPerElementNV(sums, sums, element, row, col, batch);
#if HALVES_c == 0
  tensorLayoutNV<2, CLAMPED> result = createTensorLayoutNV(2, CLAMPED);
  result = setTensorLayoutDimensionNV(result, rows, p.n);
  result = setTensorLayoutStrideNV(result, p.ldc, 1u);
  coopMatStoreTensorNV(sums, c, batch * p.stride_c, sliceTensorLayoutNV(result, row, BM, col, BN));
#endif
#endif
}
