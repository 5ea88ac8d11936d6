// Each subgroup has 32 queries of a head: it multiplies them by 32 keys at a time,
// computes the weights in shared memory, one line per invocation, and multiplies those by
// the values into its accumulators (FlashAttention-2: Dao, 2023). The accumulators are
// rescaled by a matrix whose columns are equal.

const uint QUERIES = 32u * SUBGROUPS; // of a workgroup
const uint LANES = INVOCATIONS / SUBGROUPS;
const uint ACROSS = COLUMNS / TN; // matrices of a subgroup's results
const uint DOWN = 32u / TM;
const uint KEYS_ACROSS = 32u / TN;
const float MASKED = -3.0e38; // the row max of a query without visible keys

shared uvec4 queries[QUERIES * PITCH];
shared uvec4 keys[32u * PITCH];
shared uvec4 values[32u * PITCH];
shared uvec4 scores[QUERIES * SCORES]; // a line of floats, then its weights in 16 bits
shared ivec4 ranges[QUERIES];
shared float row_max[QUERIES];    // of the query's scores
shared float total[QUERIES];   // of exp(score - row_max)
shared float factors[QUERIES]; // of its accumulators

// The first tile at or after key with a key visible to some query; after the last, its
// end.
uint visible(uint key) {
  while (key < p.keys && !any_visible(seen_by_all, key)) { key += 32u; }
  return key;
}

// Computes a query's weights for 32 keys, by online softmax.
void online_softmax(uint row, uint key) {
  ivec4 by = ranges[row];
  vec4 s[8];
  uint hidden = 0u;
  float now = row_max[row];
  [[unroll]] for (uint i = 0u; i < 8u; ++i) {
    s[i] = uintBitsToFloat(scores[row * SCORES + i]) * p.scale;
    [[unroll]] for (uint j = 0u; j < 4u; ++j) {
      if (is_visible(by, key + 4u * i + j)) { now = max(now, s[i][j]); } else { hidden |= 1u << (4u * i + j); }
    }
  }
  vec4 sum = vec4(0.0);
  [[unroll]] for (uint i = 0u; i < 8u; ++i) {
    bvec4 out_of_sight = notEqual(uvec4(hidden >> (4u * i)) & uvec4(1u, 2u, 4u, 8u), uvec4(0u));
    s[i] = mix(exp(s[i] - now), vec4(0.0), out_of_sight);
    sum += s[i];
  }
  [[unroll]] for (uint i = 0u; i < 4u; ++i) { scores[row * SCORES + i] = near_quad(s[2u * i], s[2u * i + 1u]); }
  float factor = exp(row_max[row] - now);
  factors[row] = factor;
  total[row] = total[row] * factor + ((sum.x + sum.y) + (sum.z + sum.w));
  row_max[row] = now;
}

void main() {
  uint tiles = (p.queries + QUERIES - 1u) / QUERIES;
  uint index = group_index();
  uint first = index % tiles * QUERIES;
  uint head = index / tiles % p.heads;
  uint batch = index / tiles / p.heads;
  if (batch >= p.batch) { return; }
  uint kv = head / (p.heads / p.kv_heads);
  uint mine = gl_SubgroupID * 32u; // the first of this subgroup's queries

  if (gl_LocalInvocationIndex == 0u) { seen_by_all = NOTHING; }
  barrier();
  for (uint i = gl_LocalInvocationIndex; i < QUERIES; i += INVOCATIONS) {
    ivec4 by = first + i < p.queries ? intervals_of(batch * p.queries + first + i) : ivec4(0);
    ranges[i] = by;
    row_max[i] = MASKED;
    total[i] = 0.0;
    widen_seen(by);
  }
  BRING(q, QUERIES, query_at, first, p.queries, head, queries, 0u)

  SUMS sums[DOWN * ACROSS];
  [[unroll]] for (uint i = 0u; i < DOWN * ACROSS; ++i) { sums[i] = SUMS(0.0); }
  barrier();
  for (uint key = visible(0u); key < p.keys; key = visible(key + 32u)) {
    BRING(k, 32u, key_at, key, p.keys, kv, keys, 0u)
    BRING(v, 32u, key_at, key, p.keys, kv, values, 0u)
    barrier();
    SUMS dots[DOWN * KEYS_ACROSS];
    [[unroll]] for (uint i = 0u; i < DOWN * KEYS_ACROSS; ++i) { dots[i] = SUMS(0.0); }
    [[unroll]] for (uint d = 0u; d < COLUMNS; d += TK) {
      LEFT q_matrix[DOWN];
      [[unroll]] for (uint r = 0u; r < DOWN; ++r) {
        coopMatLoad(q_matrix[r], queries, (mine + r * TM) * PITCH + d / 8u, PITCH, ROW_MAJOR);
      }
      [[unroll]] for (uint s = 0u; s < KEYS_ACROSS; ++s) {
        RIGHT k_matrix;
        coopMatLoad(k_matrix, keys, s * TN * PITCH + d / 8u, PITCH, COLUMN_MAJOR);
        [[unroll]] for (uint r = 0u; r < DOWN; ++r) {
          dots[r * KEYS_ACROSS + s] = coopMatMulAdd(q_matrix[r], k_matrix, dots[r * KEYS_ACROSS + s]);
        }
      }
    }
    [[unroll]] for (uint r = 0u; r < DOWN; ++r) {
      [[unroll]] for (uint s = 0u; s < KEYS_ACROSS; ++s) {
        coopMatStore(dots[r * KEYS_ACROSS + s], scores, (mine + r * TM) * SCORES + s * TN / 4u, SCORES, ROW_MAJOR);
      }
    }
    subgroup_barrier();
    for (uint i = gl_SubgroupInvocationID; i < 32u; i += LANES) { online_softmax(mine + i, key); }
    subgroup_barrier();
    [[unroll]] for (uint r = 0u; r < DOWN; ++r) {
      SUMS factor;
      coopMatLoad(factor, factors, mine + r * TM, 0u, COLUMN_MAJOR);
      [[unroll]] for (uint s = 0u; s < ACROSS; ++s) { sums[r * ACROSS + s] = sums[r * ACROSS + s] * factor; }
    }
    [[unroll]] for (uint j = 0u; j < 32u; j += TK) {
      LEFT weights[DOWN];
      [[unroll]] for (uint r = 0u; r < DOWN; ++r) {
        coopMatLoad(weights[r], scores, (mine + r * TM) * SCORES + j / 8u, SCORES, ROW_MAJOR);
      }
      [[unroll]] for (uint s = 0u; s < ACROSS; ++s) {
        RIGHT v_matrix;
        coopMatLoad(v_matrix, values, j * PITCH + s * TN / 8u, PITCH, ROW_MAJOR);
        [[unroll]] for (uint r = 0u; r < DOWN; ++r) {
          sums[r * ACROSS + s] = coopMatMulAdd(weights[r], v_matrix, sums[r * ACROSS + s]);
        }
      }
    }
    barrier();
  }

  for (uint i = gl_SubgroupInvocationID; i < 32u; i += LANES) {
    uint t = first + mine + i;
    float sum = total[mine + i];
    if (t < p.queries) { lse[(batch * p.queries + t) * p.heads + head] = sum == 0.0 ? 0.0 : row_max[mine + i] + log(sum); }
    factors[mine + i] = sum == 0.0 ? 0.0 : 1.0 / sum;
  }
  // The results replace the scores, 32 columns at a time.
  [[unroll]] for (uint column = 0u; column < COLUMNS; column += 32u) {
    subgroup_barrier();
    [[unroll]] for (uint r = 0u; r < DOWN; ++r) {
      [[unroll]] for (uint s = 0u; s < 32u / TN; ++s) {
        coopMatStore(sums[r * ACROSS + column / TN + s], scores, (mine + r * TM) * SCORES + s * TN / 4u, SCORES, ROW_MAJOR);
      }
    }
    subgroup_barrier();
    for (uint i = gl_SubgroupInvocationID; i < 128u; i += LANES) {
      uint row = mine + i / 4u;
      uint quad = row * SCORES + i % 4u * 2u;
      uint to = column / 8u + i % 4u;
      if (first + row < p.queries && to < p.head_dim / 8u) {
        vec4 low = uintBitsToFloat(scores[quad]) * factors[row];
        vec4 high = uintBitsToFloat(scores[quad + 1u]) * factors[row];
        y_quads[query_at(batch, first + row, head) + to] = pack_quad(low, high);
      }
    }
  }
}
