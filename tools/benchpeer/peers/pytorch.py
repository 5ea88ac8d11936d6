#!/usr/bin/env python3
"""The same work in PyTorch, on the CPU or a GPU, with random weights and data: only speed
is measured.

  pytorch.py [--device D] [--dtype T] matmul M N K
  pytorch.py [--device D] [--dtype T] attention HEADS KV_HEADS HEAD_DIM TOKENS
  pytorch.py [--device D] [--dtype T] attention_backward HEADS KV_HEADS HEAD_DIM TOKENS
  pytorch.py [--device D] serve              one case per line on stdin: "matmul bf16 M N K", …

print {"ms": …} for each case, for benchpeer: the minimum over a second of runs on the CPU;
on a GPU, by its own clock, the minimum mean of a few calls in a row. A failure prints
{"error": …}.

  pytorch.py [--device D] train --recipe FILE --rows N --tokens N --modes f32,bf16,bf16-compiled
  pytorch.py [--device D] decode --recipe FILE --prompt N --new N --modes f32,bf16
  pytorch.py [--device D] embedder --recipe FILE --rows N --modes f32,bf16

print a line of JSON for every mode, like vlmtool bench. FILE is the output of vlmtool
train --print-config. These need transformers as well.
"""
import argparse
import json
import statistics
import sys
import time

import torch
import torch.nn.functional as F

DTYPES = {"f32": torch.float32, "bf16": torch.bfloat16, "f16": torch.float16}


def on_gpu(device):
    return device.startswith("cuda")


# Matmuls and attention, for benchpeer.


def fastest(step, device):
    """Minimum milliseconds of a call, by the device's clock if it has one."""
    if not on_gpu(device):
        times = []
        begin = time.perf_counter()
        while len(times) < 7 or time.perf_counter() - begin < 1:
            start = time.perf_counter()
            step()
            times.append(time.perf_counter() - start)
        return min(times[2:]) * 1e3
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))

    def calls(n):
        start.record()
        for _ in range(n):
            step()
        end.record()
        end.synchronize()
        return start.elapsed_time(end) / n

    calls(2)
    n = max(3, min(200, int(10 / max(calls(3), 1e-3))))  # about 10 ms in a row
    return min(calls(n) for _ in range(7))


def matmul(device, dtype, m, n, k):
    # The second matrix has the layout of a linear layer's weight.
    a, b = torch.randn(m, k, device=device, dtype=dtype), torch.randn(n, k, device=device, dtype=dtype).T
    return fastest(lambda: a @ b, device)


def attention(device, dtype, heads, kv_heads, head_dim, tokens, backward=False):
    q, k, v = (torch.randn(1, h, tokens, head_dim, device=device, dtype=dtype, requires_grad=backward) for h in (heads, kv_heads, kv_heads))

    def forward():
        return F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=heads != kv_heads)

    if not backward:
        with torch.inference_mode():
            return fastest(forward, device)
    out = forward()
    gradient = torch.randn_like(out)
    return fastest(lambda: torch.autograd.grad(out, (q, k, v), gradient, retain_graph=True), device)


def case(device, dtype, work, sizes):
    sizes = [int(s) for s in sizes]
    if work == "matmul":
        return matmul(device, DTYPES[dtype], *sizes)
    if work in ("attention", "attention_backward"):
        return attention(device, DTYPES[dtype], *sizes, backward=work == "attention_backward")
    raise ValueError(f"no such work: {work}")


def serve(device):
    for line in sys.stdin:
        work, dtype, *sizes = line.split()
        try:
            answer = {"ms": case(device, dtype, work, sizes)}
        except Exception as e:
            answer = {"error": one_line(e)}
        print(json.dumps(answer), flush=True)


def one_line(e):
    return f"{type(e).__name__}: {' '.join(str(e).split())[:300]}"


# Training, generation and the embedder of a recipe.


def decoder(text, dtype):
    import transformers

    kind = "Qwen3" if text["model_type"] == "qwen3" else "Llama"
    config = getattr(transformers, kind + "Config")(
        hidden_size=text["hidden_size"], intermediate_size=text["intermediate_size"], num_hidden_layers=text["num_hidden_layers"],
        num_attention_heads=text["num_attention_heads"], num_key_value_heads=text["num_key_value_heads"], head_dim=text["head_dim"],
        vocab_size=text["vocab_size"], rope_theta=text["rope_theta"], max_position_embeddings=text["max_position_embeddings"],
        tie_word_embeddings=text["tie_word_embeddings"], attn_implementation="sdpa",
    )
    torch.set_default_dtype(dtype)
    try:
        return getattr(transformers, kind + "ForCausalLM")(config)
    finally:
        torch.set_default_dtype(torch.float32)


class Embedder(torch.nn.Module):
    """pixels [B, 3, S, S] → [B, (S/P)², D]: patches, LayerNorm, Linear, LayerNorm, + row
    and column position, LayerNorm, connector."""

    def __init__(self, vision, hidden):
        super().__init__()
        self.patch, self.grid = vision["patch_size"], vision["image_size"] // vision["patch_size"]
        features = 3 * self.patch**2
        self.ln1, self.fc, self.ln2, self.ln3 = torch.nn.LayerNorm(features), torch.nn.Linear(features, hidden), torch.nn.LayerNorm(hidden), torch.nn.LayerNorm(hidden)
        self.rows = torch.nn.Parameter(torch.randn(self.grid, 1, hidden) * 0.02)
        self.cols = torch.nn.Parameter(torch.randn(1, self.grid, hidden) * 0.02)
        self.connector = torch.nn.Linear(hidden, hidden)

    def forward(self, x):
        b, g, s = x.shape[0], self.grid, self.patch
        x = x.reshape(b, 3, g, s, g, s).permute(0, 2, 4, 1, 3, 5).reshape(b, g * g, 3 * s * s)
        x = self.ln2(self.fc(self.ln1(x))) + (self.rows + self.cols).reshape(1, g * g, -1)
        return self.connector(self.ln3(x))


def timed(step, device, seconds=4):
    """Median and minimum milliseconds of step(), after two warm-up steps."""
    sync = torch.cuda.synchronize if on_gpu(device) else lambda: None
    for _ in range(2):
        step()
    times, begin = [], time.perf_counter()
    while len(times) < 2 or len(times) < 50 and time.perf_counter() - begin < seconds:
        sync()
        start = time.perf_counter()
        step()
        sync()
        times.append((time.perf_counter() - start) * 1e3)
    return {"ms": statistics.median(times), "ms_min": min(times), "steps": len(times)}


def train(a, recipe, mode):
    text, vision = recipe["text_config"], recipe["vision_config"]
    dtype, compiled = mode.split("-")[0], mode.endswith("-compiled")
    lm = decoder(text, torch.float32).to(a.device)
    emb = Embedder(vision, text["hidden_size"]).to(a.device)
    if a.lora_rank:
        from peft import LoraConfig, get_peft_model

        get_peft_model(lm, LoraConfig(r=a.lora_rank, lora_alpha=2 * a.lora_rank, target_modules="all-linear", task_type="CAUSAL_LM"))
    params = [p for p in lm.parameters() if p.requires_grad] + list(emb.parameters())
    opt = torch.optim.AdamW(params, lr=1e-4, fused=on_gpu(a.device))
    slots, vocab = emb.grid**2, text["vocab_size"]
    images = 0 if slots >= a.tokens else max(1, a.tokens // (2 * slots))  # half of a row's tokens, as in vlmtool bench train
    ids = torch.randint(0, vocab - 1, (a.rows, a.tokens), device=a.device)
    pixels = torch.rand(a.rows * images, 3, vision["image_size"], vision["image_size"], device=a.device)
    mask = torch.zeros_like(ids, dtype=torch.bool)
    for i in range(images):
        mask[:, 2 * i * slots : (2 * i + 1) * slots] = True
    labels = ids.masked_fill(mask, -100)
    cast = torch.autocast(a.device.split(":")[0], dtype=DTYPES[dtype], enabled=dtype != "f32")
    body = torch.compile(lm.model) if compiled else lm.model

    def step():
        with cast:
            x = lm.model.embed_tokens(ids).clone()
            if images:
                x[mask] = emb(pixels).reshape(-1, text["hidden_size"]).to(x.dtype)
            logits = lm.lm_head(body(inputs_embeds=x, use_cache=False).last_hidden_state)
            loss = F.cross_entropy(logits[:, :-1].float().reshape(-1, vocab), labels[:, 1:].reshape(-1), ignore_index=-100)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(params, 1.0)
        opt.step()
        opt.zero_grad(set_to_none=True)

    out = timed(step, a.device)
    out["tokens_per_s"] = a.rows * a.tokens / out["ms"] * 1e3
    return dict(out, batch_size=a.rows, seq_len=a.tokens)


@torch.inference_mode()
def decode(a, recipe, mode):
    text = recipe["text_config"]
    lm = decoder(text, DTYPES[mode]).to(a.device).eval()
    ids = torch.randint(0, text["vocab_size"] - 1, (1, a.prompt), device=a.device)
    options = dict(min_new_tokens=a.new, max_new_tokens=a.new, do_sample=False, pad_token_id=0, attention_mask=torch.ones_like(ids))
    first = timed(lambda: lm.generate(ids, **dict(options, min_new_tokens=1, max_new_tokens=1)), a.device, 1)
    whole = timed(lambda: lm.generate(ids, **options), a.device)
    return {"prompt_tokens": a.prompt, "new_tokens": a.new, "prefill_ms": first["ms"],
            "tokens_per_s": (a.new - 1) / max(whole["ms"] - first["ms"], 1e-6) * 1e3}


@torch.inference_mode()
def embedder(a, recipe, mode):
    vision, dtype = recipe["vision_config"], DTYPES[mode]
    size = vision["image_size"]
    emb = Embedder(vision, recipe["text_config"]["hidden_size"]).to(a.device, dtype).eval()
    pixels = torch.rand(a.rows, 3, size, size, device=a.device, dtype=dtype)
    out = timed(lambda: emb(pixels), a.device, 2)
    return dict(out, batch_size=a.rows, images_per_s=a.rows / out["ms"] * 1e3)


@torch.inference_mode()
def siglip(a, recipe, mode):
    """SigLIP-B/16's encoder at 512 pixels, which an encoder-free model does not need."""
    from transformers import SiglipVisionConfig, SiglipVisionModel

    vit = SiglipVisionModel(SiglipVisionConfig(image_size=512, patch_size=16, hidden_size=768, num_hidden_layers=12, num_attention_heads=12, intermediate_size=3072))
    vit = vit.to(a.device, DTYPES[mode]).eval()
    rows = a.rows if on_gpu(a.device) else 1
    pixels = torch.rand(rows, 3, 512, 512, device=a.device, dtype=DTYPES[mode])
    out = timed(lambda: vit(pixel_values=pixels), a.device, 2)
    return dict(out, batch_size=rows, images_per_s=rows / out["ms"] * 1e3)


def by_recipe(a):
    with open(a.recipe) as f:
        recipe = json.load(f)
    works = {"train": [train], "decode": [decode], "embedder": [embedder, siglip]}[a.work]
    for mode in a.modes.split(","):
        for work in works:
            line = {"bench": work.__name__, "peer": "PyTorch " + torch.__version__, "preset": recipe["preset"], "mode": mode}
            try:
                line.update(work(a, recipe, mode))
                if on_gpu(a.device):
                    line["memory_peak_bytes"] = torch.cuda.max_memory_allocated()
            except Exception as e:
                line["error"] = one_line(e)
            print(json.dumps(line), flush=True)
            if on_gpu(a.device):
                torch.cuda.empty_cache()
                torch.cuda.reset_peak_memory_stats()


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--device", default="cpu", help="cpu, cuda or auto")
    p.add_argument("--dtype", choices=DTYPES, default="f32")
    p.add_argument("--recipe")
    p.add_argument("--modes", default="f32")
    for name, value in {"rows": 1, "tokens": 2048, "prompt": 290, "new": 128, "lora-rank": 0}.items():
        p.add_argument("--" + name, type=int, default=value)
    p.add_argument("work")
    p.add_argument("sizes", nargs="*")
    a = p.parse_args()
    if a.device == "auto":
        a.device = "cuda" if torch.cuda.is_available() else "cpu"
    if a.work == "serve":
        serve(a.device)
    elif a.work in ("train", "decode", "embedder"):
        by_recipe(a)
    else:
        print(json.dumps({"ms": case(a.device, a.dtype, a.work, a.sizes)}))


if __name__ == "__main__":
    main()
