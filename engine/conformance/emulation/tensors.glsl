// Tensor layouts of two dimensions as in GLSL_NV_cooperative_matrix2: with a clamping
// layout, elements outside read 0 and are not written; otherwise they are undefined, which
// is NaN here.

#define gl_CooperativeMatrixClampModeConstantNV 1

struct Layout {
  bool clamped;
  uvec2 size, stride;
  uvec2 first, span; // the slice
};

Layout createLayout(uint dimensions) { return Layout(false, uvec2(0u), uvec2(0u), uvec2(0u), uvec2(0u)); }
Layout createLayout(uint dimensions, uint mode) {
  Layout clamped = createLayout(dimensions);
  clamped.clamped = true;
  return clamped;
}
Layout setLayoutDimension(Layout l, uint rows, uint cols) {
  l.size = uvec2(rows, cols);
  l.stride = uvec2(cols, 1u);
  l.span = l.size;
  return l;
}
Layout setLayoutStride(Layout l, uint row, uint col) {
  l.stride = uvec2(row, col);
  return l;
}
Layout sliceLayout(Layout l, uint row, uint rows, uint col, uint cols) {
  l.first += uvec2(row, col);
  l.span = uvec2(rows, cols);
  return l;
}

float outside(Layout l) { return l.clamped ? 0.0 : uintBitsToFloat(0x7fc00000u); }

// The matrix's element [x,y] is the slice's, or with a transposed view, [y,x].
#define LOAD_TENSOR(MATRIX, ARRAY, AT, SLICE, TURNED) \
  { \
    Layout slice_ = SLICE; \
    EIGHTS(cells(MATRIX.v[0])) { \
      uint i_ = eight_ + e_; \
      uvec2 at_ = PLACE(MATRIX, i_); \
      if (TURNED) { at_ = at_.yx; } \
      bool inside_ = all(lessThan(at_, slice_.span)) && all(lessThan(at_ + slice_.first, slice_.size)); \
      uvec2 place_ = (at_ + slice_.first) * slice_.stride; \
      MATRIX.v[i_].value = inside_ ? half_float(uint(ARRAY[(AT) + place_.x + place_.y])) : outside(slice_); \
    } \
  }

#define coopMatStoreTensorNV(MATRIX, ARRAY, AT, SLICE) \
  { \
    Layout slice_ = SLICE; \
    for (uint i_ = 0u; i_ < cells(MATRIX.v[0]); ++i_) { \
      uvec2 at_ = PLACE(MATRIX, i_) + slice_.first; \
      if (!slice_.clamped || all(lessThan(at_, slice_.size))) { ARRAY[(AT) + at_.x * slice_.stride.x + at_.y * slice_.stride.y] = MATRIX.v[i_].value; } \
    } \
  }

#define coopMatPerElementNV(TO, FROM, FUNCTION, X, Y, Z) \
  for (uint i_ = 0u; i_ < cells(FROM.v[0]); ++i_) { \
    uvec2 at_ = PLACE(FROM, i_); \
    TO.v[i_].value = FUNCTION(at_.x, at_.y, FROM.v[i_].value, X, Y, Z); \
  }

