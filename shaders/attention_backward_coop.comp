// The gradients of attention, in tiles of 32 queries and 32 keys that four subgroups
// share: each has 16×16 of a tile's scores, and a quarter of the columns of the
// accumulators. Three passes: delta = Σ dy·y and the intervals of every tile of queries;
// dq, over the tiles of keys; dk and dv, over the tiles of queries. Scratch: delta
// [B,Tq,H], then the tiles' intervals, as floats.

layout(constant_id = 4) const uint PASS = 0u;

const uint LINE = 32u * PITCH; // quads of a tile
const uint QUARTER = COLUMNS / 4u;
const uint ACROSS = QUARTER / TN;
const uint DOWN = 32u / TM;
const uint RESULT = COLUMNS / 4u + 1u; // quads of a line of results
const uint EACH = (128u + INVOCATIONS - 1u) / INVOCATIONS;

// Tiles: of queries and of their dy, of keys and of values.
const uint Q = 0u;
const uint DY = LINE;
const uint K = 2u * LINE;
const uint V = 3u * LINE;
const uint WEIGHTS = 0u; // of scores: a line of floats, then of 16 bits
const uint GRADIENTS = 32u * SCORES;

shared uvec4 tiles[4u * LINE];
shared uvec4 scores[2u * 32u * SCORES];
shared ivec4 ranges[32];
shared float lses[32];
shared float deltas[32];

// The subgroup's 16×16 dot products of the lines of two tiles.
void multiply(uint a, uint b, uint to) {
  uint row = gl_SubgroupID % 2u * 16u;
  uint col = gl_SubgroupID / 2u * 16u;
  SUMS dots[16u / TM * (16u / TN)];
  [[unroll]] for (uint i = 0u; i < 16u / TM * (16u / TN); ++i) { dots[i] = SUMS(0.0); }
  [[unroll]] for (uint d = 0u; d < COLUMNS; d += TK) {
    [[unroll]] for (uint r = 0u; r < 16u / TM; ++r) {
      LEFT left_matrix;
      coopMatLoad(left_matrix, tiles, a + (row + r * TM) * PITCH + d / 8u, PITCH, ROW_MAJOR);
      [[unroll]] for (uint s = 0u; s < 16u / TN; ++s) {
        RIGHT right_matrix;
        coopMatLoad(right_matrix, tiles, b + (col + s * TN) * PITCH + d / 8u, PITCH, COLUMN_MAJOR);
        dots[r * (16u / TN) + s] = coopMatMulAdd(left_matrix, right_matrix, dots[r * (16u / TN) + s]);
      }
    }
  }
  [[unroll]] for (uint r = 0u; r < 16u / TM; ++r) {
    [[unroll]] for (uint s = 0u; s < 16u / TN; ++s) {
      coopMatStore(dots[r * (16u / TN) + s], scores, to + (row + r * TM) * SCORES + (col + s * TN) / 4u, SCORES, ROW_MAJOR);
    }
  }
}

// Adds to a subgroup's quarter of the columns: the 16-bit lines in scores, or their
// transpose, times a tile.
#define ADD_PRODUCTS(SUM, FROM, TILE, LAYOUT) \
  [[unroll]] for (uint j = 0u; j < 32u; j += TK) { \
    [[unroll]] for (uint r = 0u; r < DOWN; ++r) { \
      LEFT left_matrix; \
      coopMatLoad(left_matrix, scores, (FROM) + (LAYOUT == ROW_MAJOR ? r * TM * SCORES + j / 8u : j * SCORES + r * TM / 8u), SCORES, LAYOUT); \
      [[unroll]] for (uint s = 0u; s < ACROSS; ++s) { \
        RIGHT right_matrix; \
        coopMatLoad(right_matrix, tiles, (TILE) + j * PITCH + (gl_SubgroupID * QUARTER + s * TN) / 8u, PITCH, ROW_MAJOR); \
        SUM[r * ACROSS + s] = coopMatMulAdd(left_matrix, right_matrix, SUM[r * ACROSS + s]); \
      } \
    } \
  }

// Stores the subgroups' sums over the tiles' shared memory.
#define PUT_RESULTS(SUM) \
  [[unroll]] for (uint r = 0u; r < DOWN; ++r) { \
    [[unroll]] for (uint s = 0u; s < ACROSS; ++s) { \
      coopMatStore(SUM[r * ACROSS + s], tiles, r * TM * RESULT + (gl_SubgroupID * QUARTER + s * TN) / 4u, RESULT, ROW_MAJOR); \
    } \
  }

// Writes the results, times a factor, to the lines of a tensor, or adds them.
#define WRITE(NAME, AT, FIRST, END, HEAD, FACTOR, ACCUMULATE) \
  for (uint i = gl_LocalInvocationIndex; i < 32u * SPAN; i += INVOCATIONS) { \
    uint t = (FIRST) + i / SPAN; \
    if (t < (END) && i % SPAN < p.head_dim / 8u) { \
      uint quad = i / SPAN * RESULT + i % SPAN * 2u; \
      vec4 low = uintBitsToFloat(tiles[quad]) * (FACTOR); \
      vec4 high = uintBitsToFloat(tiles[quad + 1u]) * (FACTOR); \
      uint to = AT(batch, t, HEAD) + i % SPAN; \
      if ((ACCUMULATE) != 0u) { \
        uvec4 old = NAME##_quads[to]; \
        low += vec4(unpack_pair(old.x), unpack_pair(old.y)); \
        high += vec4(unpack_pair(old.z), unpack_pair(old.w)); \
      } \
      NAME##_quads[to] = pack_quad(low, high); \
    } \
  }

// Loads what the queries of a tile need. No key is visible to those past the end.
void prepare(uint batch, uint first, uint head) {
  for (uint i = gl_LocalInvocationIndex; i < 32u; i += INVOCATIONS) {
    bool there = first + i < p.queries;
    uint row = batch * p.queries + first + i;
    ranges[i] = there ? intervals_of(row) : ivec4(0);
    lses[i] = there ? lse[row * p.heads + head] : 0.0;
    deltas[i] = there ? scratch[row * p.heads + head] : 0.0;
  }
}

vec4 weights_of(vec4 score, uint query, uint key) {
  ivec4 by = ranges[query];
  bvec4 visible = bvec4(is_visible(by, key), is_visible(by, key + 1u), is_visible(by, key + 2u), is_visible(by, key + 3u));
  return mix(vec4(0.0), exp(score * p.scale - lses[query]), visible);
}

// Computes the weights and the scores' gradients of a tile, in all subgroups.
void online_softmax(uint key) {
  uvec4 weights[EACH];
  uvec4 gradients[EACH];
  [[unroll]] for (uint e = 0u; e < EACH; ++e) {
    uint i = e * INVOCATIONS + gl_LocalInvocationIndex;
    uint query = i / 4u;
    uint quad = query * SCORES + i % 4u * 2u;
    if (i < 128u) {
      vec4 low = weights_of(uintBitsToFloat(scores[WEIGHTS + quad]), query, key + i % 4u * 8u);
      vec4 high = weights_of(uintBitsToFloat(scores[WEIGHTS + quad + 1u]), query, key + i % 4u * 8u + 4u);
      weights[e] = near_quad(low, high);
      gradients[e] = near_quad(low * (uintBitsToFloat(scores[GRADIENTS + quad]) - deltas[query]),
                               high * (uintBitsToFloat(scores[GRADIENTS + quad + 1u]) - deltas[query]));
    }
  }
  barrier();
  [[unroll]] for (uint e = 0u; e < EACH; ++e) {
    uint i = e * INVOCATIONS + gl_LocalInvocationIndex;
    if (i < 128u) {
      scores[WEIGHTS + i / 4u * SCORES + i % 4u] = weights[e];
      scores[GRADIENTS + i / 4u * SCORES + i % 4u] = gradients[e];
    }
  }
}

uint tile_at(uint batch, uint tile) {
  return p.batch * p.queries * p.heads + 4u * (batch * ((p.queries + 31u) / 32u) + tile);
}

// delta is the diagonal of dy·yᵀ, summed in the order of dy·vᵀ, from which it is
// subtracted: with one key, where y = v, the difference is exactly 0.
void delta_pass(uint batch, uint first, uint head) {
  if (gl_LocalInvocationIndex == 0u) { seen_by_all = NOTHING; }
  BRING(dy, 32u, query_at, first, p.queries, head, tiles, DY)
  BRING(y, 32u, query_at, first, p.queries, head, tiles, V)
  barrier();
  multiply(DY, V, WEIGHTS);
  for (uint i = gl_LocalInvocationIndex; i < 32u; i += INVOCATIONS) {
    if (first + i < p.queries) {
      ivec4 by = intervals_of(batch * p.queries + first + i);
      WIDEN(seen_by_all, by)
    }
  }
  barrier();
  for (uint i = gl_LocalInvocationIndex; i < 32u; i += INVOCATIONS) {
    if (first + i < p.queries) {
      scratch[(batch * p.queries + first + i) * p.heads + head] = uintBitsToFloat(scores[i * SCORES + i / 4u][i % 4u]);
    }
  }
  if (head == 0u && gl_LocalInvocationIndex < 4u) {
    scratch[tile_at(batch, first / 32u) + gl_LocalInvocationIndex] = float(seen_by_all[gl_LocalInvocationIndex]);
  }
}

ivec4 tile_ranges(uint batch, uint tile) {
  uint at = tile_at(batch, tile);
  return ivec4(vec4(scratch[at], scratch[at + 1u], scratch[at + 2u], scratch[at + 3u]));
}

void query_pass(uint batch, uint first, uint head) {
  uint kv = head / (p.heads / p.kv_heads);
  SUMS dq_sums[DOWN * ACROSS];
  [[unroll]] for (uint i = 0u; i < DOWN * ACROSS; ++i) { dq_sums[i] = SUMS(0.0); }
  prepare(batch, first, head);
  BRING(q, 32u, query_at, first, p.queries, head, tiles, Q)
  BRING(dy, 32u, query_at, first, p.queries, head, tiles, DY)
  ivec4 by = tile_ranges(batch, first / 32u);
  for (uint key = 0u; key < p.keys; key += 32u) {
    if (!any_visible(by, key, 32u)) { continue; }
    BRING(k, 32u, key_at, key, p.keys, kv, tiles, K)
    BRING(v, 32u, key_at, key, p.keys, kv, tiles, V)
    barrier();
    multiply(Q, K, WEIGHTS);
    multiply(DY, V, GRADIENTS);
    barrier();
    online_softmax(key);
    barrier();
    ADD_PRODUCTS(dq_sums, GRADIENTS, K, ROW_MAJOR)
    barrier();
  }
  barrier();
  PUT_RESULTS(dq_sums)
  barrier();
  WRITE(dq, query_at, first, p.queries, head, p.scale, p.accumulate_q)
}

void key_pass(uint batch, uint first, uint kv) {
  uint heads = p.heads / p.kv_heads;
  SUMS dk_sums[DOWN * ACROSS];
  SUMS dv_sums[DOWN * ACROSS];
  [[unroll]] for (uint i = 0u; i < DOWN * ACROSS; ++i) { dk_sums[i] = dv_sums[i] = SUMS(0.0); }
  BRING(k, 32u, key_at, first, p.keys, kv, tiles, K)
  BRING(v, 32u, key_at, first, p.keys, kv, tiles, V)
  for (uint t = 0u; t < p.queries; t += 32u) {
    if (!any_visible(tile_ranges(batch, t / 32u), first, 32u)) { continue; }
    for (uint head = kv * heads; head < (kv + 1u) * heads; ++head) {
      prepare(batch, t, head);
      BRING(q, 32u, query_at, t, p.queries, head, tiles, Q)
      BRING(dy, 32u, query_at, t, p.queries, head, tiles, DY)
      barrier();
      multiply(Q, K, WEIGHTS);
      multiply(DY, V, GRADIENTS);
      barrier();
      online_softmax(first);
      barrier();
      ADD_PRODUCTS(dv_sums, WEIGHTS, DY, COLUMN_MAJOR)
      ADD_PRODUCTS(dk_sums, GRADIENTS, Q, COLUMN_MAJOR)
      barrier();
    }
  }
  barrier();
  PUT_RESULTS(dk_sums)
  barrier();
  WRITE(dk, key_at, first, p.keys, kv, p.scale, p.accumulate_k)
  barrier();
  PUT_RESULTS(dv_sums)
  barrier();
  WRITE(dv, key_at, first, p.keys, kv, 1.0, p.accumulate_v)
}

void main() {
  uint tiles_of_lines = ((PASS == 2u ? p.keys : p.queries) + 31u) / 32u;
  uint heads = PASS == 2u ? p.kv_heads : p.heads;
  uint index = group_index();
  uint first = index % tiles_of_lines * 32u;
  uint head = index / tiles_of_lines % heads;
  uint batch = index / tiles_of_lines / heads;
  if (batch >= p.batch) { return; }
  if (PASS == 0u) { delta_pass(batch, first, head); }
  if (PASS == 1u) { query_pass(batch, first, head); }
  if (PASS == 2u) { key_pass(batch, first, head); }
}
