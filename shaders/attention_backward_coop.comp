// The gradients of attention, in four passes: delta = Σ dy·y and the intervals of every
// tile of 32 queries; then dq, dk and dv. Each of these has a workgroup for ROWS lines of
// its result, DOWN matrices of them in the registers of every subgroup, and reads the
// other side's lines TILE at a time:
//
//	      rows     tiles    scores   slopes   result
//	dq    q, dy    k, v     q·kᵀ     dy·vᵀ    += ds·k
//	dk    k, v     q, dy    k·qᵀ     v·dyᵀ    += ds·q
//	dv    k        q, dy    k·qᵀ              += w·dy
//
// where w = exp(scores·scale - lse) and ds = w·(slopes - delta). As in attention_coop.comp,
// w and ds are computed in registers, and reach the last product through shared memory in
// 16 bits. Scratch: delta [B,Tq,H], then the intervals of the tiles, as floats.

layout(constant_id = 4) const uint PASS = 0u;

const uint DQ = 1u; // passes
const uint DK = 2u;
const uint DV = 3u;
const uint SUBROWS = DOWN * TM; // rows of a subgroup
const uint TILE_SPAN = TILE / 8u;
const uint WEIGHTS = TILE + 8u; // from one line of weights to the next
const uint DIAGONAL = 5u;       // quads of a line of 16 products
const int BY_QUERY = PASS == DQ ? COLUMN_MAJOR : ROW_MAJOR; // layout of what belongs to queries

// Shared memory: the first and the second of the rows and of the tiles.
const uint ROW_A = 0u;
const uint ROW_B = ROWS * PITCH;
const uint TILE_A = 2u * ROWS * PITCH;
const uint TILE_B = TILE_A + TILE * PITCH;
shared uvec4 lines[TILE_B + TILE * PITCH];
shared uint16_t weights[ROWS * WEIGHTS];
shared ivec4 ranges[ROWS]; // of queries: the rows, or a tile's
shared float lses[ROWS];
shared float deltas[ROWS];
shared ivec4 seen_by_any[ROWS / 32u]; // of 32 queries: the keys that any sees
shared ivec4 seen_by_each[ROWS / 32u]; // and those that each of them sees

// The intervals of a tile of 32 queries in the scratch: those that contain every query's,
// then those that every query's contain.
uint tile_at(uint batch, uint tile) {
  return p.batch * p.queries * p.heads + 8u * (batch * ((p.queries + 31u) / 32u) + tile);
}
ivec4 tile_ranges(uint batch, uint tile, uint from) {
  uint at = tile_at(batch, tile) + from;
  return ivec4(vec4(scratch[at], scratch[at + 1u], scratch[at + 2u], scratch[at + 3u]));
}
ivec4 seen_by_any_of(uint batch, uint query) { return query < p.queries ? tile_ranges(batch, query / 32u, 0u) : NOTHING; }
ivec4 seen_by_each_of(uint batch, uint query) { return tile_ranges(batch, query / 32u, 4u); }

// delta is the diagonal of dy·yᵀ, summed in the order of dy·vᵀ, from which it is
// subtracted: with one key, where y = v, the difference is exactly 0.
void delta_pass(uint batch, uint first, uint head) {
  for (uint i = gl_LocalInvocationIndex; i < ROWS / 32u; i += INVOCATIONS) {
    seen_by_any[i] = NOTHING;
    seen_by_each[i] = NOTHING.yxwz;
  }
  BRING(dy, ROWS, query_at, first, p.queries, head, lines, ROW_A)
  BRING(y, ROWS, query_at, first, p.queries, head, lines, ROW_B)
  barrier();
  for (uint row = gl_SubgroupID * 16u; row < ROWS; row += gl_NumSubgroups * 16u) {
    for (uint r = 0u; r < 16u; r += TM) {
      for (uint s = 0u; s < 16u; s += TN) {
        SUMS products = SUMS(0.0);
        for (uint d = 0u; d < COLUMNS / TK; ++d) {
          LEFT left_matrix;
          RIGHT right_matrix;
          coopMatLoad(left_matrix, lines, ROW_A + (row + r) * PITCH + d * TK / 8u, PITCH, ROW_MAJOR);
          coopMatLoad(right_matrix, lines, ROW_B + (row + s) * PITCH + d * TK / 8u, PITCH, COLUMN_MAJOR);
          products = coopMatMulAdd(left_matrix, right_matrix, products);
        }
        coopMatStore(products, lines, TILE_A + (row + r) * DIAGONAL + s / 4u, DIAGONAL, ROW_MAJOR);
      }
    }
  }
  for (uint i = gl_LocalInvocationIndex; i < ROWS; i += INVOCATIONS) {
    if (first + i < p.queries) {
      ivec4 by = intervals_of(batch * p.queries + first + i);
      WIDEN(seen_by_any[i / 32u], by)
      NARROW(seen_by_each[i / 32u], by)
    }
  }
  barrier();
  for (uint i = gl_LocalInvocationIndex; i < ROWS; i += INVOCATIONS) {
    if (first + i < p.queries) {
      uvec4 quad = lines[TILE_A + i * DIAGONAL + i % 16u / 4u];
      scratch[(batch * p.queries + first + i) * p.heads + head] = uintBitsToFloat(quad[i % 4u]);
    }
  }
  for (uint i = gl_LocalInvocationIndex; i < ROWS / 4u; i += INVOCATIONS) {
    uint tile = i / 8u;
    if (head == 0u && first + tile * 32u < p.queries) {
      int bound = i % 8u < 4u ? seen_by_any[tile][i % 4u] : seen_by_each[tile][i % 4u];
      scratch[tile_at(batch, first / 32u + tile) + i % 8u] = float(bound);
    }
  }
}

// Loads what n queries need. No key is visible to those past the end.
void prepare(uint batch, uint first, uint n, uint head) {
  for (uint i = gl_LocalInvocationIndex; i < n; i += INVOCATIONS) {
    bool there = first + i < p.queries;
    uint row = batch * p.queries + first + i;
    ranges[i] = there ? intervals_of(row) : ivec4(0);
    lses[i] = there ? lse[row * p.heads + head] : 0.0;
    deltas[i] = there ? scratch[row * p.heads + head] : 0.0;
  }
}

// Products of the subgroup's rows, starting at quad A, and a tile's, starting at quad B.
#define MULTIPLY(PRODUCTS, A, B) \
  [[unroll]] for (uint r = 0u; r < DOWN; ++r) { \
    [[unroll]] for (uint s = 0u; s < TILE / TN; ++s) { PRODUCTS[r * TILE_SPAN + s] = SUMS(0.0); } \
  } \
  [[unroll]] for (uint d = 0u; d < COLUMNS; d += TK) { \
    LEFT left_matrix[DOWN]; \
    [[unroll]] for (uint r = 0u; r < DOWN; ++r) { \
      coopMatLoad(left_matrix[r], lines, (A) + (mine + r * TM) * PITCH + d / 8u, PITCH, ROW_MAJOR); \
    } \
    [[unroll]] for (uint s = 0u; s < TILE / TN; ++s) { \
      RIGHT right_matrix; \
      coopMatLoad(right_matrix, lines, (B) + s * TN * PITCH + d / 8u, PITCH, COLUMN_MAJOR); \
      [[unroll]] for (uint r = 0u; r < DOWN; ++r) { \
        PRODUCTS[r * TILE_SPAN + s] = coopMatMulAdd(left_matrix[r], right_matrix, PRODUCTS[r * TILE_SPAN + s]); \
      } \
    } \
  }

// Writes columns 32·c to 32·c + 31 of a subgroup's results, times a factor, to lines of a
// tensor, or adds them.
#define WRITER(NAME, AT, END) \
  void write_##NAME(uint batch, uint first, uint head, uint mine, uint c, float factor, uint accumulate) { \
    for (uint i = gl_SubgroupInvocationID; i < SUBROWS * 4u; i += gl_SubgroupSize) { \
      uint row = mine + i / 4u; \
      uint quad = row * RESULT + i % 4u * 2u; \
      uint to = c * 4u + i % 4u; \
      if (first + row < (END) && to < p.head_dim / 8u) { \
        vec4 low = uintBitsToFloat(lines[quad]) * factor; \
        vec4 high = uintBitsToFloat(lines[quad + 1u]) * factor; \
        to += AT(batch, first + row, head); \
        if (accumulate != 0u) { \
          uvec4 old = NAME##_quads[to]; \
          low += vec4(unpack_pair(old.x), unpack_pair(old.y)); \
          high += vec4(unpack_pair(old.z), unpack_pair(old.w)); \
        } \
        NAME##_quads[to] = pack_quad(low, high); \
      } \
    } \
  }
WRITER(dq, query_at, p.queries)
WRITER(dk, key_at, p.keys)
WRITER(dv, key_at, p.keys)

void main() {
  bool by_query = PASS <= DQ;
  uint groups = ((by_query ? p.queries : p.keys) + ROWS - 1u) / ROWS;
  uint heads = by_query ? p.heads : p.kv_heads;
  uint index = group_index();
  uint first = index % groups * ROWS;
  uint head = index / groups % heads;
  uint batch = index / groups / heads;
  if (batch >= p.batch) { return; }
  if (PASS == 0u) {
    delta_pass(batch, first, head);
    return;
  }
  uint mine = gl_SubgroupID * SUBROWS; // the first of this subgroup's rows

  SUMS places; // an element's number in lines of WEIGHTS
  PUT_PLACES(lines)
  barrier();
  coopMatLoad(places, lines, 0u, TN / 4u, ROW_MAJOR);
  barrier();
  ivec4 rows_seen = NOTHING; // by any query of the rows
  if (PASS == DQ) {
    BRING(q, ROWS, query_at, first, p.queries, head, lines, ROW_A)
    BRING(dy, ROWS, query_at, first, p.queries, head, lines, ROW_B)
    prepare(batch, first, ROWS, head);
    for (uint i = 0u; i < ROWS; i += 32u) {
      ivec4 by = seen_by_any_of(batch, first + i);
      rows_seen = ivec4(min(rows_seen.x, by.x), max(rows_seen.y, by.y), min(rows_seen.z, by.z), max(rows_seen.w, by.w));
    }
  } else {
    BRING(k, ROWS, key_at, first, p.keys, head, lines, ROW_A)
    if (PASS == DK) { BRING(v, ROWS, key_at, first, p.keys, head, lines, ROW_B) }
  }

  SUMS sums[DOWN * SPAN];
  [[unroll]] for (uint r = 0u; r < DOWN; ++r) {
    [[unroll]] for (uint s = 0u; s < COLUMNS / TN; ++s) { sums[r * SPAN + s] = SUMS(0.0); }
  }
  // Over the tiles of keys, or of queries and their heads.
  uint group = PASS == DQ ? 1u : p.heads / p.kv_heads;
  uint tiles = ((PASS == DQ ? p.keys : p.queries) + TILE - 1u) / TILE * group;
  for (uint tile = 0u; tile < tiles; ++tile) {
    uint t = tile / group * TILE;
    uint h = PASS == DQ ? head / (p.heads / p.kv_heads) : head * group + tile % group; // the tile's head
    ivec4 seen = PASS == DQ ? rows_seen : seen_by_any_of(batch, t);
    if (!any_visible(seen, PASS == DQ ? t : first, PASS == DQ ? TILE : ROWS)) { continue; }
    if (PASS == DQ) { seen = seen_by_any_of(batch, first + mine); }
    uint key = PASS == DQ ? t : first + mine; // the first key of this subgroup's products
    uint keys = PASS == DQ ? TILE : SUBROWS;
    bool some = any_visible(seen, key, keys);
    bool all = some && all_visible(seen_by_each_of(batch, PASS == DQ ? first + mine : t), key, keys);
    if (PASS == DQ) {
      BRING(k, TILE, key_at, t, p.keys, h, lines, TILE_A)
      BRING(v, TILE, key_at, t, p.keys, h, lines, TILE_B)
    } else {
      BRING(q, TILE, query_at, t, p.queries, h, lines, TILE_A)
      BRING(dy, TILE, query_at, t, p.queries, h, lines, TILE_B)
      prepare(batch, t, TILE, h);
    }
    barrier();
    if (some) {
      SUMS scores[DOWN * TILE_SPAN];
      SUMS slopes[DOWN * TILE_SPAN];
      MULTIPLY(scores, ROW_A, TILE_A)
      if (PASS != DV) { MULTIPLY(slopes, ROW_B, TILE_B) }
      SUMS lse_of[DOWN];
      SUMS delta_of[DOWN];
      [[unroll]] for (uint s = 0u; s < TILE / TN; ++s) {
        [[unroll]] for (uint r = 0u; r < DOWN; ++r) {
          uint query = PASS == DQ ? mine + r * TM : s * TN;
          if (s == 0u || PASS != DQ) {
            coopMatLoad(lse_of[r], lses, query, 0u, BY_QUERY);
            coopMatLoad(delta_of[r], deltas, query, 0u, BY_QUERY);
          }
          [[unroll]] for (uint i = 0u; i < LENGTH(places); ++i) {
            uint place = uint(ELEMENT(places, i));
            uint row = place / WEIGHTS;
            uint col = place % WEIGHTS;
            float weight = exp(ELEMENT(scores[r * TILE_SPAN + s], i) * p.scale - ELEMENT(lse_of[r], i));
            ivec4 by = ranges[query + (PASS == DQ ? row : col)];
            if (!all && !is_visible(by, key + (PASS == DQ ? s * TN + col : r * TM + row))) { weight = 0.0; }
            if (PASS != DV) { weight *= ELEMENT(slopes[r * TILE_SPAN + s], i) - ELEMENT(delta_of[r], i); }
            weights[(mine + r * TM) * WEIGHTS + s * TN + place] = near_half(weight);
          }
        }
      }
    }
    subgroup_barrier();
    if (some) {
      [[unroll]] for (uint j = 0u; j < TILE; j += TK) {
        LEFT w_matrix[DOWN];
        [[unroll]] for (uint r = 0u; r < DOWN; ++r) {
          coopMatLoad(w_matrix[r], weights, (mine + r * TM) * WEIGHTS + j, WEIGHTS, ROW_MAJOR);
        }
        [[unroll]] for (uint s = 0u; s < COLUMNS / TN; ++s) {
          RIGHT right_matrix;
          coopMatLoad(right_matrix, lines, (PASS == DV ? TILE_B : TILE_A) + j * PITCH + s * TN / 8u, PITCH, ROW_MAJOR);
          [[unroll]] for (uint r = 0u; r < DOWN; ++r) {
            sums[r * SPAN + s] = coopMatMulAdd(w_matrix[r], right_matrix, sums[r * SPAN + s]);
          }
        }
      }
    }
    barrier();
  }
  barrier();

  // The results, 32 columns at a time.
  [[unroll]] for (uint c = 0u; c < CHUNKS; ++c) {
    subgroup_barrier();
    PUT_RESULTS(lines, c)
    subgroup_barrier();
    if (PASS == DQ) { write_dq(batch, first, head, mine, c, p.scale, p.accumulate_q); }
    if (PASS == DK) { write_dk(batch, first, head, mine, c, p.scale, p.accumulate_k); }
    if (PASS == DV) { write_dv(batch, first, head, mine, c, 1.0, p.accumulate_v); }
  }
}
