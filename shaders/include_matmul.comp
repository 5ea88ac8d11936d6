// Writes two results of the matmul, at an even column.
void finish(vec2 sum, uint row, uint col, uint batch) {
  if (row >= m() || col >= p.n) { return; }
  uint at = batch * p.stride_c + row * p.ldc + col;
  bool two = col + 1u < p.n;
  vec2 value = p.alpha * sum;
  if (p.bias != 0u) { value += vec2(bias[col], two ? bias[col + 1u] : 0.0); }
  if (p.residual != 0u) { value += vec2(residual[at], two ? residual[at + 1u] : 0.0); }
#if HALVES_c == 1
  if (p.beta != 0.0) { value += p.beta * unpack_pair(c_words[at / 2u]); }
  c_words[at / 2u] = pack_pair(value);
#else
  if (p.beta != 0.0) { value += p.beta * vec2(c[at], two ? c[at + 1u] : 0.0); }
  c[at] = value.x;
  if (two) { c[at + 1u] = value.y; }
#endif
}
