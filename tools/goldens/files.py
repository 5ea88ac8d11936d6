"""Reading and writing of golden files, and the random numbers of a seed."""

import json
import zlib

import numpy as np
import torch
from safetensors.torch import load_file, save_file

SMALLEST = torch.finfo(torch.float32).smallest_normal


class Random:
    """The random numbers of one part of a set, which depend only on the seed and the part's name."""

    def __init__(self, seed, *part):
        words = [zlib.crc32(str(word).encode()) for word in part]
        self.numbers = np.random.default_rng([seed, *words])

    def normal(self, *shape, spread=1.0, mean=0.0):
        """Normally distributed and exact in float32: the same input for every precision."""
        values = self.numbers.standard_normal(shape) * spread + mean
        return torch.from_numpy(values.astype(np.float32))

    def uniform(self, low, high, *shape):
        return torch.from_numpy(self.numbers.uniform(low, high, shape)).float()

    def chance(self, probability, *shape):
        return torch.from_numpy(self.numbers.random(shape) < probability)

    def integers(self, low, end, *shape):
        """In [low, end)."""
        return torch.from_numpy(self.numbers.integers(low, end, shape))

    def between(self, low, high):
        """One integer, high included."""
        return int(self.numbers.integers(low, high + 1))


def as_stored(tensor):
    """Floats as F32 without denormals, the rest as I32, at least one axis."""
    tensor = tensor.detach()
    if tensor.is_floating_point():
        tensor = tensor.float()
        tensor = tensor.masked_fill(tensor.abs() < SMALLEST, 0.0)
    else:
        tensor = tensor.int()
    return torch.atleast_1d(tensor).contiguous().clone()


def write_tensors(path, tensors):
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({name: as_stored(t) for name, t in tensors.items()}, str(path))
    path.chmod(0o644)


def read_tensors(path):
    return load_file(str(path))


def write_json(path, value, indent=1):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, ensure_ascii=False, indent=indent) + "\n", encoding="utf-8")


def read_json(path):
    return json.loads(path.read_text(encoding="utf-8"))


def write_lines(path, rows):
    """One JSON object per line, in ASCII."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [json.dumps(row, separators=(",", ":")) + "\n" for row in rows]
    path.write_text("".join(lines), encoding="ascii", newline="\n")


def read_lines(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def largest(tensor):
    return float(tensor.abs().max()) if tensor.numel() else 0.0


def rounded(x):
    """Rounded to three digits, for error figures."""
    return float(f"{x:.3g}")
