// Cooperative matrices in plain GLSL: [M,K]·[K,N] is added to [M,N]. Every invocation has
// the whole operands. Of the result, each of MEMBERS has every MEMBERS-th element, starting
// at its number LANE, and gets the others' only through memory, as with the device's own
// matrices. Functions take cells and not matrices, which are large to copy.

struct LeftCell { float value; };
struct RightCell { float value; };
struct SumCell { float value; };
struct Left { LeftCell v[M_ * K_]; };
struct Right { RightCell v[K_ * N_]; };
struct Sum { SumCell v[(M_ * N_ + MEMBERS - 1u) / MEMBERS]; };

// How many elements an invocation has, which they are, and how long a line is.
uint cells(LeftCell c) { return M_ * K_; }
uint cells(RightCell c) { return K_ * N_; }
uint cells(SumCell c) { return (M_ * N_ + MEMBERS - 1u - LANE) / MEMBERS; }
uint number(uint i, LeftCell c) { return i; }
uint number(uint i, RightCell c) { return i; }
uint number(uint i, SumCell c) { return i * MEMBERS + LANE; }
uint columns(LeftCell c) { return K_; }
uint columns(RightCell c) { return N_; }
uint columns(SumCell c) { return N_; }

// Loops of numbers eight_ + e_ below N, of which there are multiples of 8: llvmpipe
// ends a shader after 65535 iterations.
#define EIGHTS(N) for (uint eight_ = 0u; eight_ < (N); eight_ += 8u) [[unroll]] for (uint e_ = 0u; e_ < 8u; ++e_)

Sum zero_accumulator() {
  Sum sum;
  for (uint i = 0u; i < cells(sum.v[0]); ++i) { sum.v[i].value = 0.0; }
  return sum;
}

// Products of elements, and with a number; of two numbers too, where the text multiplies
// those.
Sum times(const in Sum a, const in Sum b) {
  Sum product;
  for (uint i = 0u; i < cells(a.v[0]); ++i) { product.v[i].value = a.v[i].value * b.v[i].value; }
  return product;
}
Sum times(const in Sum a, float b) {
  Sum product;
  for (uint i = 0u; i < cells(a.v[0]); ++i) { product.v[i].value = a.v[i].value * b; }
  return product;
}
float times(float a, float b) { return a * b; }

#define MULTIPLY_ADD(SUM, LEFT_, RIGHT_, ADDEND) \
  for (uint i_ = 0u; i_ < cells(SUM.v[0]); ++i_) { \
    uint row_ = number(i_, SUM.v[0]) / N_; \
    uint col_ = number(i_, SUM.v[0]) % N_; \
    float sum_ = ADDEND.v[i_].value; \
    EIGHTS(K_) { sum_ += LEFT_.v[row_ * K_ + eight_ + e_].value * RIGHT_.v[(eight_ + e_) * N_ + col_].value; } \
    SUM.v[i_].value = sum_; \
  }

// Elements of a matrix stored in quads, eight of 16 bits or four of 32, or by themselves.
float from_half(uvec4 quad, uint i) { return half_float(quad[i / 2u % 4u] >> (16u * (i % 2u)) & 0xffffu); }
float element(uvec4 quad, uint i, LeftCell c) { return from_half(quad, i); }
float element(uvec4 quad, uint i, RightCell c) { return from_half(quad, i); }
float element(uvec4 quad, uint i, SumCell c) { return uintBitsToFloat(quad[i % 4u]); }
float element(uint16_t value, uint i, LeftCell c) { return half_float(uint(value)); }
float element(float value, uint i, SumCell c) { return value; }
uint width(uvec4 quad, LeftCell c) { return 8u; }
uint width(uvec4 quad, RightCell c) { return 8u; }
uint width(uvec4 quad, SumCell c) { return 4u; }
uint width(uint16_t value, LeftCell c) { return 1u; }
uint width(float value, SumCell c) { return 1u; }

#define gl_CooperativeMatrixLayoutRowMajor 0
#define gl_CooperativeMatrixLayoutColumnMajor 1

// Row and column of a cell.
#define PLACE(MATRIX, I) uvec2(number(I, MATRIX.v[0]) / columns(MATRIX.v[0]), number(I, MATRIX.v[0]) % columns(MATRIX.v[0]))

// AT and STRIDE, from one line of the matrix to the next, count elements of ARRAY.
#define coopMatLoad(MATRIX, ARRAY, AT, STRIDE, LAYOUT) \
  EIGHTS(cells(MATRIX.v[0])) { \
    uint i_ = eight_ + e_; \
    uvec2 at_ = PLACE(MATRIX, i_); \
    if ((LAYOUT) == gl_CooperativeMatrixLayoutColumnMajor) { at_ = at_.yx; } \
    MATRIX.v[i_].value = element(ARRAY[(AT) + at_.x * (STRIDE) + at_.y / width(ARRAY[0], MATRIX.v[0])], at_.y, MATRIX.v[0]); \
  }

#define coopMatStore(MATRIX, ARRAY, AT, STRIDE, LAYOUT) \
  for (uint i_ = 0u; i_ < cells(MATRIX.v[0]); ++i_) { \
    uvec2 at_ = PLACE(MATRIX, i_); \
    if ((LAYOUT) == gl_CooperativeMatrixLayoutColumnMajor) { at_ = at_.yx; } \
    ARRAY[(AT) + at_.x * (STRIDE) + at_.y / 4u][at_.y % 4u] = floatBitsToUint(MATRIX.v[i_].value); \
  }

// The same where ARRAY holds floats.
#define STORE_FLOATS(MATRIX, ARRAY, AT, STRIDE, LAYOUT) \
  for (uint i_ = 0u; i_ < cells(MATRIX.v[0]); ++i_) { \
    uvec2 at_ = PLACE(MATRIX, i_); \
    if ((LAYOUT) == gl_CooperativeMatrixLayoutColumnMajor) { at_ = at_.yx; } \
    ARRAY[(AT) + at_.x * (STRIDE) + at_.y] = MATRIX.v[i_].value; \
  }
