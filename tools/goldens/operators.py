"""The operators in PyTorch, their gradients by autograd, and their golden files."""

import math
from dataclasses import dataclass
from typing import Callable

import torch
import torch.nn.functional as F

from files import Random, largest, read_json, read_tensors, rounded, write_json, write_tensors
from rows import IGNORE, cut_patches, visible

OPERATORS = {}


@dataclass
class Operator:
    """forward(params, **inputs) returns y, or a dictionary with y in it; its gradients are
    those of sum(y * dy) with respect to the inputs named in `gradients`. Without such names
    the dictionary has no gradients."""

    about: str
    gradients: tuple
    forward: Callable

    def run(self, params, inputs, dtype):
        given = {n: t.to(dtype, copy=True) if t.is_floating_point() else t for n, t in inputs.items()}
        dy = given.pop("dy", None)
        leaves = [given[n].requires_grad_() for n in self.gradients]
        out = self.forward(params, **given)
        out = out if isinstance(out, dict) else {"y": out}
        if leaves:
            out["y"], y = out["y"].detach(), out["y"]
            slopes = torch.autograd.grad(y, leaves, dy, materialize_grads=True)
            out |= {f"d{n}": g for n, g in zip(self.gradients, slopes)}
        return {n: t.detach() for n, t in out.items()}


def operator(about, *gradients):
    def add(function):
        OPERATORS[function.__name__] = Operator(about, gradients, function)
        return function
    return add


@operator("y = op(a) op(b). With transpose_a the file holds a as [K,M], with transpose_b b as [N,K], as a Linear layer does. "
          "batch > 0 puts an axis before all of them.", "a", "b")
def matmul(params, a, b):
    a = a.mT if params["transpose_a"] else a
    b = b.mT if params["transpose_b"] else b
    return a @ b


@operator("y = x wᵀ + b of x [R,I], w [O,I], b [O].", "x", "w", "b")
def linear(params, x, w, b):
    return F.linear(x, w, b)


@operator("y = a + b, of one shape.", "a", "b")
def add(params, a, b):
    return a + b


@operator("y = x + b, b [C] added to every row of x [R,C].", "x", "b")
def bias(params, x, b):
    return x + b


@operator("LayerNorm of the rows of x [R,C]; the variance is over C, not C - 1. mean and rstd [R] are what a kernel keeps.", "x", "w", "b")
def layernorm(params, x, w, b):
    fixed = x.detach()
    variance = fixed.var(-1, correction=0)
    return {"y": F.layer_norm(x, w.shape, w, b, params["eps"]), "mean": fixed.mean(-1), "rstd": (variance + params["eps"]).rsqrt()}


@operator("RMSNorm of the rows of x [R,C], which is QK-norm where a row is a head. rstd [R] is what a kernel keeps.", "x", "w")
def rmsnorm(params, x, w):
    rstd = (x.square().mean(-1, keepdim=True) + params["eps"]).rsqrt()
    return {"y": x * rstd * w, "rstd": rstd.detach().flatten()}


@operator("Softmax of the rows of x [R,C] over the columns where mask is 1, zeros elsewhere, and in a row without any.", "x")
def softmax(params, x, mask):
    allowed = mask.bool()
    some = allowed.any(-1, keepdim=True)
    scores = x.masked_fill(~allowed, -math.inf).masked_fill(~some, 0.0)
    return scores.softmax(-1) * some


@operator("y = SiLU(gate) up, element by element.", "gate", "up")
def swiglu(params, gate, up):
    return F.silu(gate) * up


@operator("GELU in its tanh form, element by element.", "x")
def gelu_tanh(params, x):
    return F.gelu(x, approximate="tanh")


@operator("Rotary embedding of x [B,T,H,D]: elements i and i + D/2 of a head are turned by position theta^(-2i/D), "
          "the angle in float64.", "x")
def rope(params, x, positions):
    half = x.shape[-1] // 2
    frequencies = params["theta"] ** (-torch.arange(half, dtype=torch.float64) / half)
    angles = positions.double()[:, :, None, None] * frequencies
    cos, sin = angles.cos().to(x.dtype), angles.sin().to(x.dtype)
    first, second = x.split(half, -1)
    return torch.cat([first * cos - second * sin, second * cos + first * sin], -1)


@operator("Attention of q [B,Tq,Hq,D] over k and v [B,Tk,Hkv,D]; Hq/Hkv heads share keys, the scale is 1/sqrt(D), the queries are "
          "the last Tq positions. segment_ids -1 is padding: it is not seen, and its own y is 0. lse [B,Tq,Hq] is the logarithm "
          "of the sum of exponentials, 0 for padding. mode says which keys are seen, as in the tiny models.", "q", "k", "v")
def attention(params, q, k, v, segment_ids, image_ids):
    queries, share = q.shape[1], q.shape[2] // k.shape[2]
    real = segment_ids >= 0
    allowed = visible(segment_ids, image_ids, params["mode"]) & real[:, None, :] & real[:, :, None]
    allowed = allowed[:, None, -queries:]
    some = allowed.any(-1, keepdim=True)
    k, v = k.repeat_interleave(share, 2), v.repeat_interleave(share, 2)
    scores = torch.einsum("bihd,bjhd->bhij", q, k) * q.shape[-1] ** -0.5
    scores = scores.masked_fill(~allowed, -math.inf).masked_fill(~some, 0.0)
    y = torch.einsum("bhij,bjhd->bihd", scores.softmax(-1) * some, v)
    return {"y": y, "lse": (scores.detach().logsumexp(-1) * some[..., 0]).mT}


@operator("Cross-entropy of logits [R,V]. nll [R] is 0 at the target -100; dlogits_sum is the gradient of loss_sum, dlogits that of "
          "loss_sum / count, zeros without a target.")
def cross_entropy(params, logits, targets):
    logits.requires_grad_()
    nll = F.cross_entropy(logits, targets.long(), ignore_index=IGNORE, reduction="none")
    count = (targets != IGNORE).sum()
    slope, = torch.autograd.grad(nll.sum(), logits)
    return {"nll": nll, "loss_sum": nll.sum(), "count": count, "dlogits_sum": slope, "dlogits": slope / count.clamp(min=1)}


@operator("y = table[ids]; the gradients of rows that are looked up more than once add up.", "table")
def embedding(params, table, ids):
    return table[ids.long()]


@operator("y = table[ids], but features, one after another, where the id is image_token_id.", "table", "features")
def image_scatter(params, table, ids, features):
    is_image = (ids == params["image_token_id"])[..., None]
    return table[ids.long()].masked_scatter(is_image, features)


@operator("Patches of side `patch` of x [N,C,H,W], row by row; in a patch by channel, row, column.", "x")
def patchify(params, x):
    return cut_patches(x, params["patch"])


@operator("Adds the row's and the column's position to patches x [N,rows*nw,D], from tables of more rows than are used.", "x", "y_pos", "x_pos")
def position_add(params, x, y_pos, x_pos):
    across = params["nw"]
    down = x.shape[1] // across
    return x + (y_pos[:down, None] + x_pos[None, :across]).flatten(0, 1)


@operator("A step of AdamW, its decay decoupled; step counts from 1.")
def adamw(params, p, g, m, v):
    beta1, beta2, lr, step = (params[n] for n in ("beta1", "beta2", "lr", "step"))
    m = beta1 * m + (1 - beta1) * g
    v = beta2 * v + (1 - beta2) * g * g
    scale = v.sqrt() / math.sqrt(1 - beta2**step) + params["eps"]
    decayed = p * (1 - lr * params["weight_decay"])
    return {"p_new": decayed - lr / (1 - beta1**step) * m / scale, "m_new": m, "v_new": v}


@operator("The norm of all tensors together, factor = min(1, max_norm / (norm + 1e-6)), and every tensor times that.")
def global_norm_clip(params, **tensors):
    norm = sum(t.square().sum() for t in tensors.values()).sqrt()
    factor = (params["max_norm"] / (norm + 1e-6)).clamp(max=1.0)
    return {"norm": norm, "factor": factor, **{f"{n}_new": t * factor for n, t in tensors.items()}}


def case_of(op, name, params, inputs):
    """The index entry of a case, and its tensors."""
    exact, plain = op.run(params, inputs, torch.float64), op.run(params, inputs, torch.float32)
    floats = {n: t for n, t in exact.items() if t.is_floating_point()}
    error = {n: rounded(largest(plain[n].double() - t)) for n, t in floats.items()}
    size = {n: rounded(largest(t)) for n, t in floats.items()}
    # If the mean is far above the spread, the error is the rounding of the mean.
    times = 16 if params.get("x_mean", 0) > 50 * params.get("x_scale", 1) else 4
    tensors = inputs | exact
    return {
        "name": name, "params": params, "inputs": list(inputs), "outputs": list(exact),
        "shapes": {n: list(t.shape) or [1] for n, t in tensors.items()},
        "f32_max_abs_error": error, "max_abs_value": size,
        "atol": {n: rounded(max(times * error[n], 2e-6 * size[n], 1e-7)) for n in floats},
    }, {f"{name}.{n}": t for n, t in tensors.items()}


def drawn(seed):
    """Every operator's cases of a seed: (name, params, inputs)."""
    from operator_cases import CASES
    for op in OPERATORS:
        cases = CASES[op](Random(seed, "ops", op))
        yield op, ((f"case{i}", params, inputs) for i, (params, inputs) in enumerate(cases))


def given(folder):
    """The cases of a golden set."""
    for op, entry in read_json(folder / "index.json")["ops"].items():
        tensors = read_tensors(folder / entry["file"])
        yield op, ((c["name"], c["params"], {n: tensors[f"{c['name']}.{n}"] for n in c["inputs"]}) for c in entry["cases"])


def make(out, seed, source):
    index = {}
    for op, cases in drawn(seed) if seed is not None else given(source / "ops"):
        tensors, entries = {}, []
        for case in cases:
            entry, values = case_of(OPERATORS[op], *case)
            entries.append(entry)
            tensors |= values
        write_tensors(out / "ops" / f"{op}.safetensors", tensors)
        index[op] = {"file": f"{op}.safetensors", "about": OPERATORS[op].about, "cases": entries}
    write_json(out / "ops" / "index.json", {
        "about": "A tensor's name is CASE.NAME; dy comes in, dNAME is the gradient of NAME. f32_max_abs_error is how far PyTorch's float32 "
                 "is from these values; atol is 4 times that (16 times for LayerNorm of a mean far above the spread), and at least "
                 "2e-6 of the largest value and 1e-7.",
        "seed": read_json(source / "ops" / "index.json")["seed"] if seed is None else seed, "ops": index})
