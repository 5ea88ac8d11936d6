// FlashAttention-2 (Dao, 2023): each subgroup has DOWN matrices of queries of a head, and
// multiplies them by KEYS keys at a time. The scores stay in its registers, where they
// become weights; these go to the second product, by the values, through shared memory in
// 16 bits. The results stay in registers too.
//
// Which elements of a matrix an invocation has, only the device knows: a matrix of places,
// loaded from shared memory, tells it. What belongs to a row is a matrix too, whose columns
// are equal: matrices of one type have the same places.
//
// A row's weights are exp2(score - shift). The shift is the row's maximum, but as long as
// no score exceeds it by more than SLACK it stays, and nothing is rescaled.

const uint ROWS = DOWN * TM; // queries of a subgroup
#if IS_HOLD == 0
const uint DEPTH = COLUMNS; // with HOLD declared in Go, and loops to it unrolled
#endif
const uint KEY_SPAN = KEYS / 8u; // at most so many matrices of a line of keys, SPAN of one of columns
const uint WEIGHTS = KEYS + 8u; // from one line of weights to the next
const float SLACK = 8.0; // 16 bits hold 2^8 as precisely as 1
const float UNSEEN = -1.0e38; // the shift of a row without visible keys
const float HIDDEN = -3.0e38; // a score that is masked: exp2(HIDDEN - UNSEEN) is 0
const float LOG2E = 1.442695041;

// Shared memory: lines of queries, keys and values. With HOLD the queries are kept in
// registers, and keys and values replace them; with TURNS, values replace keys.
const uint TILE = KEYS * PITCH;
const uint K = HOLD == 1u ? 0u : QUERIES * PITCH;
const uint V = K + (TURNS == 1u ? 0u : TILE);

// A matrix of the subgroup's queries.
#define LOAD_Q(M, R, D) coopMatLoad(M, lines, (mine + R * TM) * PITCH + D * TK / 8u, PITCH, ROW_MAJOR);
#if IS_HOLD == 1
#define GET_Q(M, R, D) M = q_held[R * SPAN + D];
#else
#define GET_Q(M, R, D) LOAD_Q(M, R, D)
#endif

shared uvec4 lines[max(max(QUERIES * PITCH, V + TILE), QUERIES * RESULT)];
shared uint16_t weights[QUERIES * WEIGHTS];
shared ivec4 ranges[QUERIES];
shared float shifts[QUERIES];
shared float factors[QUERIES]; // of the results
shared ivec4 seen_by_any[QUERIES / 8u]; // of a subgroup's queries: the keys that any sees
shared ivec4 seen_by_each[QUERIES / 8u]; // and those that each of them sees

// The first tile at or after key with a key visible to some query; after the last, its
// end.
uint visible(uint key) {
  while (key < p.keys && !any_visible(seen_by_all, key, KEYS)) { key += KEYS; }
  return key;
}

void find_ranges(uint batch, uint first) {
  if (gl_LocalInvocationIndex == 0u) { seen_by_all = NOTHING; }
  for (uint i = gl_LocalInvocationIndex; i < QUERIES / 8u; i += INVOCATIONS) {
    seen_by_any[i] = NOTHING;
    seen_by_each[i] = NOTHING.yxwz;
  }
  barrier();
  for (uint i = gl_LocalInvocationIndex; i < QUERIES; i += INVOCATIONS) {
    bool there = first + i < p.queries;
    ivec4 by = there ? intervals_of(batch * p.queries + first + i) : ivec4(0);
    ranges[i] = by;
    shifts[i] = UNSEEN;
    WIDEN(seen_by_all, by)
    WIDEN(seen_by_any[i / ROWS], by)
    if (there) { NARROW(seen_by_each[i / ROWS], by) }
  }
}

void main() {
  uint tiles = (p.queries + QUERIES - 1u) / QUERIES;
  uint index = group_index();
  uint first = index % tiles * QUERIES;
  uint head = index / tiles % p.heads;
  uint batch = index / tiles / p.heads;
  if (batch >= p.batch) { return; }
  uint kv = head / (p.heads / p.kv_heads);
  uint mine = gl_SubgroupID * ROWS; // the first of this subgroup's queries
  float scale = p.scale * LOG2E;

  SUMS places; // an element's number in lines of WEIGHTS
  PUT_PLACES(lines)
  find_ranges(batch, first);
  barrier();
  coopMatLoad(places, lines, 0u, TN / 4u, ROW_MAJOR);
  barrier();
  BRING(q, QUERIES, query_at, first, p.queries, head, lines, 0u)
  barrier();
#if IS_HOLD == 1
  LEFT q_held[DOWN * SPAN];
  [[unroll]] for (uint r = 0u; r < DOWN; ++r) {
    [[unroll]] for (uint d = 0u; d < DEPTH / TK; ++d) {
      LOAD_Q(q_held[r * SPAN + d], r, d)
    }
  }
  barrier();
#endif

  SUMS sums[DOWN * SPAN];
  SUMS total[DOWN]; // of the weights that this invocation has
  [[unroll]] for (uint r = 0u; r < DOWN; ++r) {
    total[r] = SUMS(0.0);
    [[unroll]] for (uint s = 0u; s < COLUMNS / TN; ++s) { sums[r * SPAN + s] = SUMS(0.0); }
  }
  for (uint key = visible(0u); key < p.keys; key = visible(key + KEYS)) {
    BRING(k, KEYS, key_at, key, p.keys, kv, lines, K)
#if IS_TURNS == 0
    BRING(v, KEYS, key_at, key, p.keys, kv, lines, V)
#endif
    barrier();
    bool some = any_visible(seen_by_any[gl_SubgroupID], key, KEYS);
    if (some) {
      // The scores, in powers of 2.
      SUMS scores[DOWN * KEY_SPAN];
      [[unroll]] for (uint r = 0u; r < DOWN; ++r) {
        [[unroll]] for (uint s = 0u; s < KEYS / TN; ++s) { scores[r * KEY_SPAN + s] = SUMS(0.0); }
      }
      [[unroll]] for (uint d = 0u; d < DEPTH / TK; ++d) {
        LEFT q_matrix[DOWN];
        [[unroll]] for (uint r = 0u; r < DOWN; ++r) { GET_Q(q_matrix[r], r, d) }
        [[unroll]] for (uint s = 0u; s < KEYS / TN; ++s) {
          RIGHT k_matrix;
          coopMatLoad(k_matrix, lines, K + s * TN * PITCH + d * TK / 8u, PITCH, COLUMN_MAJOR);
          [[unroll]] for (uint r = 0u; r < DOWN; ++r) {
            scores[r * KEY_SPAN + s] = coopMatMulAdd(q_matrix[r], k_matrix, scores[r * KEY_SPAN + s]);
          }
        }
      }
      [[unroll]] for (uint r = 0u; r < DOWN; ++r) {
        [[unroll]] for (uint s = 0u; s < KEYS / TN; ++s) {
          scores[r * KEY_SPAN + s] = scores[r * KEY_SPAN + s] * scale;
        }
      }
      if (!all_visible(seen_by_each[gl_SubgroupID], key, KEYS)) {
        [[unroll]] for (uint r = 0u; r < DOWN; ++r) {
          [[unroll]] for (uint i = 0u; i < LENGTH(places); ++i) {
            uint place = uint(ELEMENT(places, i));
            ivec4 by = ranges[mine + r * TM + place / WEIGHTS];
            [[unroll]] for (uint s = 0u; s < KEYS / TN; ++s) {
              if (!is_visible(by, key + s * TN + place % WEIGHTS)) { ELEMENT(scores[r * KEY_SPAN + s], i) = HIDDEN; }
            }
          }
        }
      }

      // Online softmax.
      SUMS shift[DOWN];
      bool grows = false;
      [[unroll]] for (uint r = 0u; r < DOWN; ++r) {
        coopMatLoad(shift[r], shifts, mine + r * TM, 0u, COLUMN_MAJOR);
        [[unroll]] for (uint i = 0u; i < LENGTH(places); ++i) {
          float limit = ELEMENT(shift[r], i) + SLACK;
          [[unroll]] for (uint s = 0u; s < KEYS / TN; ++s) {
            grows = grows || ELEMENT(scores[r * KEY_SPAN + s], i) > limit;
          }
        }
      }
      if (subgroupAny(grows)) {
        [[unroll]] for (uint r = 0u; r < DOWN; ++r) {
          SUMS factor;
          [[unroll]] for (uint i = 0u; i < LENGTH(places); ++i) {
            ELEMENT(factor, i) = HIDDEN;
            [[unroll]] for (uint s = 0u; s < KEYS / TN; ++s) {
              ELEMENT(factor, i) = max(ELEMENT(factor, i), ELEMENT(scores[r * KEY_SPAN + s], i));
            }
          }
          for (uint row = 0u; row < TM; ++row) {
            float now = UNSEEN;
            [[unroll]] for (uint i = 0u; i < LENGTH(places); ++i) {
              if (uint(ELEMENT(places, i)) / WEIGHTS == row) {
                now = max(now, max(ELEMENT(factor, i), ELEMENT(shift[r], i)));
              }
            }
            now = subgroupMax(now);
            if (gl_SubgroupInvocationID == 0u) { shifts[mine + r * TM + row] = now; }
            [[unroll]] for (uint i = 0u; i < LENGTH(places); ++i) {
              if (uint(ELEMENT(places, i)) / WEIGHTS == row) {
                ELEMENT(factor, i) = exp2(ELEMENT(shift[r], i) - now);
                ELEMENT(shift[r], i) = now;
              }
            }
          }
          total[r] = total[r] * factor;
          [[unroll]] for (uint s = 0u; s < COLUMNS / TN; ++s) { sums[r * SPAN + s] = sums[r * SPAN + s] * factor; }
        }
      }
      [[unroll]] for (uint r = 0u; r < DOWN; ++r) {
        [[unroll]] for (uint i = 0u; i < LENGTH(places); ++i) {
          uint place = (mine + r * TM) * WEIGHTS + uint(ELEMENT(places, i));
          [[unroll]] for (uint s = 0u; s < KEYS / TN; ++s) {
            float weight = exp2(ELEMENT(scores[r * KEY_SPAN + s], i) - ELEMENT(shift[r], i));
            ELEMENT(total[r], i) += weight;
            weights[place + s * TN] = near_half(weight);
          }
        }
      }
    }
    subgroup_barrier();
#if IS_TURNS == 1
    barrier();
    BRING(v, KEYS, key_at, key, p.keys, kv, lines, V)
    barrier();
#endif
    if (some) {
      [[unroll]] for (uint j = 0u; j < KEYS; j += TK) {
        LEFT w_matrix[DOWN];
        [[unroll]] for (uint r = 0u; r < DOWN; ++r) {
          coopMatLoad(w_matrix[r], weights, (mine + r * TM) * WEIGHTS + j, WEIGHTS, ROW_MAJOR);
        }
        [[unroll]] for (uint s = 0u; s < COLUMNS / TN; ++s) {
          RIGHT v_matrix;
          coopMatLoad(v_matrix, lines, V + j * PITCH + s * TN / 8u, PITCH, ROW_MAJOR);
          [[unroll]] for (uint r = 0u; r < DOWN; ++r) {
            sums[r * SPAN + s] = coopMatMulAdd(w_matrix[r], v_matrix, sums[r * SPAN + s]);
          }
        }
      }
    }
    barrier();
  }

  // Each row's sum.
  [[unroll]] for (uint r = 0u; r < DOWN; ++r) {
    coopMatStore(total[r], lines, (mine + r * TM) * RESULT, RESULT, ROW_MAJOR);
  }
  subgroup_barrier();
  for (uint i = gl_SubgroupInvocationID; i < ROWS; i += gl_SubgroupSize) {
    uint t = first + mine + i;
    vec4 sums_of = vec4(0.0);
    [[unroll]] for (uint j = 0u; j < TN / 4u; ++j) { sums_of += uintBitsToFloat(lines[(mine + i) * RESULT + j]); }
    float sum = (sums_of.x + sums_of.y) + (sums_of.z + sums_of.w);
    if (t < p.queries) {
      lse[(batch * p.queries + t) * p.heads + head] = sum == 0.0 ? 0.0 : (shifts[mine + i] + log2(sum)) / LOG2E;
    }
    factors[mine + i] = sum == 0.0 ? 0.0 : 1.0 / sum;
  }
  // The results, 32 columns at a time.
  [[unroll]] for (uint c = 0u; c < CHUNKS; ++c) {
    subgroup_barrier();
    PUT_RESULTS(lines, c)
    subgroup_barrier();
    for (uint i = gl_SubgroupInvocationID; i < ROWS * 4u; i += gl_SubgroupSize) {
      uint row = mine + i / 4u;
      uint quad = row * RESULT + i % 4u * 2u;
      uint to = c * 4u + i % 4u;
      if (first + row < p.queries && to < p.head_dim / 8u) {
        vec4 low = uintBitsToFloat(lines[quad]) * factors[row];
        vec4 high = uintBitsToFloat(lines[quad + 1u]) * factors[row];
        y_quads[query_at(batch, first + row, head) + to] = pack_quad(low, high);
      }
    }
  }
}
