"""Tiny models: every stage of the forward pass, the loss, every gradient, three steps of AdamW."""

import math

import numpy as np
import torch
import torch.nn.functional as F

from files import Random, read_json, read_tensors, write_json, write_tensors
from model import VLM, in_own_type
from rows import IGNORE, MODES, labels, number_images, positions, targets, visible

ROW = 64
STEPS = 3
IMAGE = {"image_size": 32, "patch_size": 8, "max_grid": 6}
TOKENS = {"image_token_id": 299, "pad_token_id": 2, "eos_token_id": 2}
SHARED = {"num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 300,
          "max_position_embeddings": 128, "hidden_act": "silu", "attention_bias": False, "tie_word_embeddings": True}
LLAMA = {"model_type": "llama", "hidden_size": 64, "head_dim": 16, "intermediate_size": 128, "rope_theta": 1e5, "rms_norm_eps": 1e-5,
         "mlp_bias": False, **SHARED}
QWEN3 = {"model_type": "qwen3", "hidden_size": 48, "head_dim": 32, "intermediate_size": 96, "rope_theta": 1e6, "rms_norm_eps": 1e-6, **SHARED}
MODELS = {"tiny_llama": LLAMA, "tiny_qwen3": QWEN3, "tiny_qwen3_untied": {**QWEN3, "tie_word_embeddings": False}}
ADAMW = {"lr": 1e-3, "beta1": 0.9, "beta2": 0.95, "eps": 1e-8, "weight_decay": 0.1, "max_grad_norm": 1.0}


def decays(name, parameter):
    """Matrices decay, tables do not; an untied head is a matrix."""
    return parameter.ndim > 1 and not name.endswith(("_pos_emb", "embed_tokens.weight"))


def settings(decoder, seed):
    c = {"model_type": "encoder_free_vlm", **IMAGE, "hidden_size": decoder["hidden_size"], **TOKENS, "layer_norm_eps": 1e-5, "channels": 3}
    c |= {"image_tokens": (c["image_size"] // c["patch_size"]) ** 2, "decoder": decoder, "mask_modes": list(MODES)}
    named = dict(VLM(c).named_parameters())
    decayed = sorted(n for n, p in named.items() if decays(n, p))
    return c | {"training": {
        **ADAMW,
        "loss": "cross-entropy of the next token, its sum over the batch divided by the number of targets",
        "clip": "gradients times min(1, max_grad_norm / (norm + 1e-6)), norm over every parameter once",
        "update": "torch.optim.AdamW",
        "weight_decay_rule": "matrices, without token embedding and position tables",
        "decayed": decayed, "not_decayed": sorted(named.keys() - set(decayed))}, "seed": seed}


def draw_weights(c, r):
    """With a wider spread than an initialisation, so that every term of a gradient matters."""
    weights = {}
    for name, p in VLM(c).named_parameters():
        spread, mean = p.shape[-1] ** -0.5, 0.0
        if name.endswith("_pos_emb"):
            spread = 0.3
        elif name.endswith("embed_tokens.weight"):
            spread = 0.2
        elif p.ndim == 1:
            spread, mean = 0.1, 0.0 if name.endswith("bias") else 1.0
        weights[name] = r.normal(*p.shape, spread=spread, mean=mean)
    return weights


def draw_rows(c, r):
    """Two rows: two samples with an image and one of text; one of text and one with two adjacent
    images. Every sample ends with the token that also pads the rows."""
    end, image = c["eos_token_id"], [c["image_token_id"]] * c["image_tokens"]

    def sample(images, *between):
        """Text, images, text; without images only text. The lengths are drawn first."""
        lengths = [r.between(*ends) for ends in between]
        parts = [r.integers(3, c["decoder"]["vocab_size"] - 1, n).tolist() for n in lengths]
        parts[-1][-1] = end
        parts.insert(-1, image * images)
        return sum(parts, [])

    rows = [[sample(1, (1, 3), (4, 6)), sample(1, (1, 3), (4, 6)), sample(0, (5, 8))],
            [sample(0, (6, 9)), sample(2, (1, 3), (5, 9))]]
    ids = torch.full((len(rows), ROW), c["pad_token_id"])
    segments = torch.full((len(rows), ROW), -1)
    for row, samples in enumerate(rows):
        tokens = [token for s in samples for token in s]
        numbers = [number for number, s in enumerate(samples) for _ in s]
        ids[row, :len(tokens)], segments[row, :len(tokens)] = torch.tensor(tokens), torch.tensor(numbers)
    return ids, segments


def draw_images(c, r, count):
    """Waves, a gradient and noise in 8 bits, divided by 255."""
    side, numbers = c["image_size"], r.numbers
    down, across = np.mgrid[:side, :side] / side
    images = np.empty((count, c["channels"], side, side))
    for plane in images.reshape(-1, side, side):
        phase = numbers.uniform(0.5, 4) * across + numbers.uniform(0.5, 4) * down + numbers.uniform()
        plane[:] = 0.5 + 0.2 * np.sin(2 * np.pi * phase)
        plane += numbers.uniform(-0.3, 0.3) * (across - down) + 0.08 * numbers.standard_normal((side, side))
    return torch.from_numpy((images * 255).round().clip(0, 255).astype(np.float32)) / 255


def draw_inputs(c, r):
    ids, segments = draw_rows(c, r)
    count = int((ids == c["image_token_id"]).sum()) // c["image_tokens"]
    return derive(c, draw_images(c, r, count), ids, segments)


def derive(c, pixels, ids, segments):
    """The inputs with the positions, labels, targets and masks of every mode."""
    images = number_images(ids, c["image_token_id"], c["image_tokens"])
    inputs = {"pixels": pixels, "input_ids": ids, "segment_ids": segments, "image_ids": images}
    for mode in c["mask_modes"]:
        inputs[f"positions.{mode}"] = positions(segments, mode)
        inputs[f"labels.{mode}"] = labels(ids, segments, c["image_token_id"], mode)
        inputs[f"targets.{mode}"] = targets(inputs[f"labels.{mode}"])
        inputs[f"allowed.{mode}"] = visible(segments, images, mode)
    return inputs


def load(c, weights):
    model = VLM(c).double()
    in_own_type(model.decoder)
    with torch.no_grad():
        for name, p in model.named_parameters():  # a tied head is not a separate parameter
            p.copy_(weights[name])
    return model


def run(c, weights, inputs, mode):
    """All values that the tests compare, in float64."""
    model = load(c, weights)
    named, t = dict(model.named_parameters()), c["training"]
    groups = [{"params": [p for n, p in named.items() if decays(n, p) == decayed], "weight_decay": t["weight_decay"] * decayed}
              for decayed in (True, False)]
    optimizer = torch.optim.AdamW(groups, lr=t["lr"], betas=(t["beta1"], t["beta2"]), eps=t["eps"], foreach=False)
    real = (inputs["segment_ids"] >= 0)[..., None]
    goal = inputs[f"targets.{mode}"].flatten()
    out, norms, factors, losses = {}, [], [], []

    def keep(name, x):
        if not losses:  # only the first forward pass; outputs at padding are set to 0
            of_rows = name.startswith("layer.") or name in ("norm", "logits")
            out[f"act.{name}"] = x.detach().where(real, 0.0) if of_rows else x.detach()
        return x

    for step in range(STEPS + 1):
        logits = model(inputs["pixels"].double(), inputs["input_ids"], inputs[f"allowed.{mode}"], inputs[f"positions.{mode}"], keep)
        total, count = F.cross_entropy(logits.flatten(0, 1), goal, ignore_index=IGNORE, reduction="sum"), (goal != IGNORE).sum()
        losses.append((total / count).detach())
        if step == STEPS:
            break
        optimizer.zero_grad()
        (total / count).backward()
        if step == 0:
            out |= {"loss_sum": total, "token_count": count, "loss_mean": losses[0]} | {f"grad.{n}": p.grad.clone() for n, p in named.items()}
        norms.append(torch.sqrt(sum(p.grad.square().sum() for p in named.values())))
        factors.append((t["max_grad_norm"] / (norms[-1] + 1e-6)).clamp(max=1.0))
        for p in named.values():
            p.grad *= factors[-1]
        optimizer.step()
        if step in (0, STEPS - 1):
            out |= {f"step{step + 1}.{n}": p.detach().clone() for n, p in named.items()}
    return out | {"grad_norm": torch.stack(norms), "clip_factor": torch.stack(factors), "losses": torch.stack(losses)}


def packing_error(c, weights, inputs, mode, out):
    """The largest difference of a sample's logits in its row and alone."""
    model, worst = load(c, weights), 0.0
    for row, segments in enumerate(inputs["segment_ids"]):
        for number in range(int(segments.max()) + 1):
            here = segments == number
            ids, one = inputs["input_ids"][row, here][None], torch.zeros(1, int(here.sum()), dtype=torch.long)
            images = inputs["image_ids"][row, here].unique()
            pixels = inputs["pixels"][images[images >= 0]].double()
            allowed = visible(one, number_images(ids, c["image_token_id"], c["image_tokens"]), mode)
            alone = model(pixels, ids, allowed, positions(one, mode)).detach()[0]
            worst = max(worst, float((alone - out["act.logits"][row, here]).abs().max()))
    return worst


def make(out, seed, source):
    for name, decoder in MODELS.items():
        modes = MODES
        if seed is not None:
            c, r = settings(decoder, seed), Random(seed, name)
            weights, inputs = draw_weights(c, r), draw_inputs(c, r)
        else:
            c, weights = read_json(source / name / "config.json"), read_tensors(source / name / "model.safetensors")
            given = read_tensors(source / name / "inputs.safetensors")
            inputs = derive(c, given["pixels"], given["input_ids"].long(), given["segment_ids"].long())
            modes = [m for m in c["mask_modes"] if (source / name / f"{m}.safetensors").exists()]
        write_json(out / name / "config.json", c)
        write_tensors(out / name / "model.safetensors", weights)
        write_tensors(out / name / "inputs.safetensors", inputs)
        for mode in modes:
            values = run(c, weights, inputs, mode)
            if mode != "seed" and not (error := packing_error(c, weights, inputs, mode, values)) < 1e-12:
                raise ValueError(f"{name}, {mode}: a sample's logits are {error:.1e} from those of the sample alone")
            write_tensors(out / name / f"{mode}.safetensors", values)
