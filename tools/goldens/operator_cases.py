"""The operators' cases: fixed shapes, and some that are drawn from the seed.

Each function yields (params, inputs). The numbers of a seed depend on the order in which they
are drawn.
"""

import torch

from rows import IGNORE, MODES

CASES = {}


def cases(function):
    CASES[function.__name__] = function
    return function


@cases
def matmul(r):
    sizes = [(1, 1, 1), (1, 7, 3), (5, 3, 2), (17, 33, 9), (64, 64, 64), (33, 65, 129), (1, 576, 49), (130, 100, 31), (3, 3072, 5)]
    sizes += [(r.between(1, 90), r.between(1, 200), r.between(1, 90)) for _ in range(3)]
    stored = [(a, b) for a in (False, True) for b in (False, True)]
    calls = [((), size, *way) for size in sizes for way in stored]
    calls += [((batch,), size, False, b) for batch, size in [(3, (7, 5, 11)), (2, (33, 17, 20))] for b in (False, True)]
    for batch, (m, k, n), a, b in calls:
        params = {"m": m, "k": k, "n": n, "batch": sum(batch), "transpose_a": a, "transpose_b": b}
        yield params, {
            "a": r.normal(*batch, *((k, m) if a else (m, k))),
            "b": r.normal(*batch, *((n, k) if b else (k, n))),
            "dy": r.normal(*batch, m, n)}


@cases
def linear(r):
    sizes = [(1, 1, 1), (1, 5, 3), (7, 192, 64), (33, 65, 31), (256, 64, 48), (5, 3072, 33)]
    sizes += [(r.between(1, 70), r.between(1, 150), r.between(1, 70)) for _ in range(2)]
    for rows, wide, out in sizes:
        yield {}, {"x": r.normal(rows, wide), "w": r.normal(out, wide, spread=wide ** -0.5), "b": r.normal(out), "dy": r.normal(rows, out)}


@cases
def add(r):
    for shape in [(1,), (3,), (5, 7), (2, 33, 65), (1025,), (r.between(1, 9), r.between(1, 300))]:
        yield {}, {name: r.normal(*shape) for name in ("a", "b", "dy")}


@cases
def bias(r):
    for rows, cols in [(1, 1), (1, 5), (7, 1), (33, 65), (2049, 3), (130, 100), (r.between(1, 200), r.between(1, 200))]:
        yield {}, {"x": r.normal(rows, cols), "b": r.normal(cols), "dy": r.normal(rows, cols)}


def gain(r, cols):
    return r.normal(cols, spread=0.3, mean=1.0)


@cases
def layernorm(r):
    plain = [(1, 1), (1, 7), (5, 33), (3, 3072), (130, 64), (2, 1000)]
    sizes = [(*size, 0, 1) for size in plain]
    sizes += [(4, 48, 100.0, 1.0), (3, 192, 0.5, 1e-3), (2, 65, 0.0, 1e3)]  # a large mean, hardly any variance, a large one
    sizes += [(r.between(1, 60), r.between(2, 500), 0.0, 1.0) for _ in range(2)]
    for rows, cols, mean, spread in sizes:
        x = r.normal(rows, cols, spread=spread, mean=mean)
        if (rows, cols) == (5, 33):
            x[2] = 0.75  # no variance
        yield {"eps": 1e-5, "x_mean": mean, "x_scale": spread}, {"x": x, "w": gain(r, cols), "b": r.normal(cols), "dy": r.normal(rows, cols)}


@cases
def rmsnorm(r):
    sizes = [(1, 1, 1e-5, 1), (1, 7, 1e-6, 1), (5, 33, 1e-5, 1), (130, 64, 1e-5, 1), (257, 16, 1e-6, 1), (3, 576, 1e-5, 1), (2, 4099, 1e-5, 1)]
    sizes += [(4, 48, 1e-6, 1e-3), (4, 48, 1e-6, 1e3)]
    sizes += [(r.between(1, 60), r.between(2, 500), 1e-5, 1.0) for _ in range(2)]
    for rows, cols, eps, spread in sizes:
        x = r.normal(rows, cols, spread=spread)
        if (rows, cols) == (5, 33):
            x[2] = 0
        yield {"eps": eps, "x_scale": spread}, {"x": x, "w": gain(r, cols), "dy": r.normal(rows, cols)}


@cases
def softmax(r):
    calls = [(1, 1, "all", 1), (1, 7, "all", 1), (5, 33, "random", 1), (64, 64, "causal", 1), (3, 4097, "all", 1), (3, 1000, "random", 3)]
    calls += [(6, 65, "all", 80), (6, 65, "random", 80), (4, 9, "empty", 1), (17, 130, "empty", 80)]
    calls += [(r.between(1, 40), r.between(2, 600), "random", 5) for _ in range(2)]
    for rows, cols, kind, spread in calls:
        if spread == 80:  # to the ends of float32's exponential
            x = r.uniform(-80, 80, rows, cols)
            x[0, 0], x[-1, -1] = 80, -80
        else:
            x = r.normal(rows, cols, spread=spread)
        mask = torch.ones(rows, cols, dtype=torch.int32)
        if kind == "causal":
            mask = mask.tril()
        if kind in ("random", "empty"):
            mask = r.chance(0.6, rows, cols).int()
            mask[:, 0] = 1
        if kind == "empty":
            mask[1::3] = 0
        yield {"mask": kind, "x_scale": spread}, {"x": x, "mask": mask, "dy": r.normal(rows, cols)}


def shapes_and_spreads(r):
    fixed = [((1,), 1), ((3, 5), 1), ((7, 33), 3), ((2, 1537), 1), ((65, 9), 100)]
    return fixed + [((r.between(1, 30), r.between(1, 300)), 2)]


@cases
def swiglu(r):
    for shape, spread in shapes_and_spreads(r):
        yield {"gate_scale": spread}, {"gate": r.normal(*shape, spread=spread), "up": r.normal(*shape), "dy": r.normal(*shape)}


@cases
def gelu_tanh(r):
    for shape, spread in shapes_and_spreads(r):
        yield {"x_scale": spread}, {"x": r.normal(*shape, spread=spread), "dy": r.normal(*shape)}


@cases
def rope(r):
    calls = [(1, 1, 1, 2, 1e4, "count"), (1, 5, 2, 6, 1e4, "count"), (2, 17, 3, 16, 1e5, "count"), (1, 33, 9, 64, 1e5, "restart"),
             (2, 7, 1, 32, 1e6, "random"), (1, 9, 2, 128, 1e6, "random")]
    calls.append((r.between(1, 2), r.between(1, 40), r.between(1, 5), 2 * r.between(1, 40), 1e5, "restart"))
    for batch, tokens, heads, d, theta, kind in calls:
        positions = torch.arange(tokens).expand(batch, tokens)
        if kind == "restart":
            positions = positions % max(tokens // 3, 1)
        if kind == "random":
            positions = r.integers(0, 8192, batch, tokens)
        shape = batch, tokens, heads, d
        yield {"theta": theta, "positions": kind}, {"x": r.normal(*shape), "positions": positions.int(), "dy": r.normal(*shape)}


@cases
def attention(r):
    seed, document, bidirectional = MODES
    # batch, queries, keys, heads, key heads, head size, mode, spread
    calls = [(1, 1, 1, 1, 1, 8, seed, 1), (1, 5, 5, 2, 1, 16, seed, 1), (1, 33, 33, 4, 4, 6, seed, 1), (1, 130, 130, 2, 1, 64, seed, 4)]
    calls += [(2, 64, 64, 4, 2, 16, mode, 1) for mode in MODES]
    calls += [(1, 97, 97, 9, 3, 32, document, 1), (1, 49, 49, 9, 3, 64, bidirectional, 1), (1, 65, 65, 4, 2, 128, document, 1)]
    calls += [(2, 1, 37, 4, 2, 32, seed, 1), (1, 5, 70, 6, 2, 48, seed, 1)]  # with a cache
    calls += [(1, 513, 513, 1, 1, 16, document, 1)]
    d, key_heads = 2 * r.between(1, 40), r.between(1, 3)
    lengths = r.integers(2, 90, 3).tolist()
    calls += [(2, t, t, key_heads * r.between(1, 3), key_heads, d, mode, 1) for mode, t in zip(MODES, lengths)]
    for batch, queries, keys, heads, key_heads, d, mode, spread in calls:
        whole = queries < keys or keys < 8 or (mode == seed and keys % 2 == 1)
        segments, images = one_sample(batch, keys) if whole else samples(r, batch, keys)
        yield {"mode": mode, "qk_scale": spread}, {
            "q": r.normal(batch, queries, heads, d, spread=spread), "k": r.normal(batch, keys, key_heads, d, spread=spread),
            "v": r.normal(batch, keys, key_heads, d), "segment_ids": segments, "image_ids": images,
            "dy": r.normal(batch, queries, heads, d)}


def one_sample(batch, length):
    segments = torch.zeros(batch, length, dtype=torch.int32)
    return segments, torch.full_like(segments, -1)


def samples(r, batch, length):
    """segment_ids and image_ids of rows with some samples, an image in each long enough one, and padding."""
    segments = torch.full((batch, length), -1, dtype=torch.int32)
    images, count = segments.clone(), 0
    for row in range(batch):
        end = length - r.between(0, max(1, length // 6))
        starts = {r.between(1, max(1, end - 1)) for _ in range(3)}
        edges = sorted(starts | {0, end})
        for number, lo in enumerate(edges[:-1]):
            hi = edges[number + 1]
            segments[row, lo:hi] = number
            if hi - lo < 5:
                continue
            first = r.between(lo, hi - 4)
            images[row, first:first + r.between(2, hi - first)] = count
            count += 1
    return segments, images


@cases
def cross_entropy(r):
    calls = [(1, 2, 1, 0), (1, 300, 1, 0), (5, 33, 2, 0.4), (64, 300, 2, 0.3), (130, 65, 1, 0.5), (1, 49153, 3, 0), (7, 101, 80, 0.2), (4, 17, 1, 1.0)]
    calls += [(r.between(1, 60), r.between(2, 700), 2, 0.3) for _ in range(2)]
    for rows, vocabulary, spread, ignored in calls:
        logits = r.uniform(-80, 80, rows, vocabulary) if spread == 80 else r.normal(rows, vocabulary, spread=spread)
        targets = r.integers(0, vocabulary, rows)
        targets[r.chance(ignored, rows)] = IGNORE
        yield {"logits_scale": spread}, {"logits": logits, "targets": targets.int()}


@cases
def embedding(r):
    # rows of the table, their size, tokens, distinct tokens
    calls = [(1, 1, 1, 1), (5, 3, 7, 5), (300, 64, 128, 20), (300, 48, 33, 300), (49, 65, 257, 2), (7, 9, 100, 1)]
    calls.append((r.between(2, 300), r.between(1, 100), r.between(1, 200), 0))
    for rows, d, tokens, different in calls:
        words = r.numbers.permutation(rows)[:different or max(rows // 3, 1)]
        ids = torch.from_numpy(r.numbers.choice(words, tokens))
        yield {}, {"table": r.normal(rows, d), "ids": ids.int(), "dy": r.normal(tokens, d)}


@cases
def image_scatter(r):
    calls = [(5, 3, 1, 4, 0.5), (300, 64, 2, 64, 0.5), (33, 17, 3, 21, 0.2), (9, 5, 2, 7, 0.0), (9, 5, 1, 6, 1.0)]
    calls.append((r.between(3, 99), r.between(1, 50), 2, r.between(2, 80), 0.4))
    for rows, d, batch, tokens, share in calls:
        image = rows - 1
        ids = r.integers(0, image, batch, tokens)
        ids[r.chance(share, batch, tokens)] = image
        count = int((ids == image).sum())
        yield {"image_token_id": image}, {
            "table": r.normal(rows, d), "ids": ids.int(), "features": r.normal(count, d), "dy": r.normal(batch, tokens, d)}


@cases
def patchify(r):
    calls = [(1, 3, 1, 1, 2), (1, 1, 2, 3, 1), (2, 3, 4, 4, 8), (1, 3, 2, 5, 3), (3, 3, 3, 1, 7)]
    calls.append((r.between(1, 3), 3, r.between(1, 4), r.between(1, 4), r.between(2, 9)))
    for count, channels, down, across, side in calls:
        pixels = count, channels, down * side, across * side
        yield {"patch": side}, {"x": r.normal(*pixels), "dy": r.normal(count, down * across, channels * side * side)}


@cases
def position_add(r):
    calls = [(1, 1, 1, 1, 1), (2, 4, 4, 64, 6), (3, 2, 5, 33, 7), (1, 16, 16, 48, 16)]
    calls.append((r.between(1, 3), r.between(1, 6), r.between(1, 6), r.between(1, 70), 8))
    for count, down, across, d, rows in calls:
        patches = count, down * across, d
        yield {"nw": across}, {"x": r.normal(*patches), "y_pos": r.normal(rows, d), "x_pos": r.normal(rows, d), "dy": r.normal(*patches)}


@cases
def adamw(r):
    calls = [(1, 1e-3, 0.0, 1, 1), (33, 1e-3, 0.1, 1, 1), (1000, 1e-3, 0.1, 2, 1e-3), (257, 3e-4, 0.01, 1000, 1e-2), (65, 1e-2, 0.1, 7, 1e-7),
             (31, 1e-3, 0.1, 3, 0)]
    calls.append((r.between(2, 2000), 1e-3, 0.1, r.between(1, 50), 1e-2))
    for n, lr, decay, step, spread in calls:
        g, m, v = r.normal(n, spread=spread), r.normal(n, spread=0.3 * spread), r.normal(n, spread=0.5 * spread).square()
        if step == 1:
            m, v = torch.zeros(n), torch.zeros(n)
        params = {"lr": lr, "beta1": 0.9, "beta2": 0.95, "eps": 1e-8, "weight_decay": decay, "step": step, "g_scale": spread}
        yield params, {"p": r.normal(n), "g": g, "m": m, "v": v}


@cases
def global_norm_clip(r):
    calls = [([(1,)], 1, 1.0), ([(5,), (3, 7)], 1e-3, 1.0), ([(64, 33), (1,), (129,)], 1, 1.0), ([(50001,)], 1, 1.0), ([(17, 5), (4,)], 0, 1.0)]
    calls.append(([(300, 64), (r.between(1, 900),)], 1e-2, 0.5))
    for shapes, spread, limit in calls:
        yield {"max_norm": limit}, {f"t{i}": r.normal(*shape, spread=spread) for i, shape in enumerate(shapes)}
