#!/usr/bin/env python3
"""A product or causal attention of 32-bit floats by PyTorch on the CPU, for benchpeer.

  pytorch.py matmul M N K
  pytorch.py attention HEADS KV_HEADS HEAD_DIM TOKENS
  pytorch.py attention_backward HEADS KV_HEADS HEAD_DIM TOKENS

Prints {"ms": the least of the runs of a second, 5 at least, after 2 first ones}.
"""
import json
import sys
import time

import torch


def least(step):
    times = []
    begin = time.perf_counter()
    while len(times) < 7 or time.perf_counter() - begin < 1:
        start = time.perf_counter()
        step()
        times.append(time.perf_counter() - start)
    print(json.dumps({"ms": min(times[2:]) * 1e3}))


def matmul(m, n, k):
    a, b = torch.randn(m, k), torch.randn(n, k).T
    least(lambda: a @ b)


def attention(heads, kv_heads, head_dim, tokens, backward=False):
    q, k, v = (torch.randn(1, h, tokens, head_dim, requires_grad=backward) for h in (heads, kv_heads, kv_heads))

    def forward():
        return torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=heads != kv_heads)

    if not backward:
        return least(forward)
    out = forward()
    gradient = torch.randn_like(out)
    least(lambda: torch.autograd.grad(out, (q, k, v), gradient, retain_graph=True))


def main():
    work, *sizes = sys.argv[1:]
    sizes = [int(s) for s in sizes]
    if work == "matmul":
        matmul(*sizes)
    elif work in ("attention", "attention_backward"):
        attention(*sizes, backward=work == "attention_backward")
    else:
        sys.exit(__doc__)


main()
