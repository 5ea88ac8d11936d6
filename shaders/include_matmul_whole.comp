// Without split-K: a workgroup's tile is a tile of c. An empty batch has none.
#define IS_SPLIT 0
uint parts() { return min(p.batch, 1u); }
uvec2 terms(uint part) { return uvec2(0u, k()); }
