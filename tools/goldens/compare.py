"""Compare two golden sets: python compare.py SET SET

Prints the largest difference of every safetensors file, absolute and in units of float32's
rounding of the tensor's largest value, and the files that only one set has; other files are
compared byte by byte.
"""

import sys
from pathlib import Path

from files import largest, read_tensors


def compare_tensors(a, b):
    shared = sorted(a.keys() & b.keys())
    worst, units = 0.0, 0.0
    for name in shared:
        if a[name].shape != b[name].shape:
            return f"{name}: shapes {tuple(a[name].shape)} and {tuple(b[name].shape)}"
        difference = largest(a[name].double() - b[name].double())
        worst = max(worst, difference)
        units = max(units, difference / max(largest(a[name].double()) * 2**-24, 1e-45))
    other = len(a.keys() ^ b.keys())
    return f"{len(shared)} tensors, largest difference {worst:.2g} ({units:.1f} roundings)" + (f", {other} in only one set" if other else "")


def main(first, second):
    for path in sorted(p.relative_to(first) for p in first.rglob("*") if p.is_file()):
        a, b = first / path, second / path
        if not b.exists():
            print(f"{path}: only in {first}")
        elif path.suffix == ".safetensors":
            print(f"{path}: {compare_tensors(read_tensors(a), read_tensors(b))}")
        else:
            print(f"{path}: {'the same' if a.read_bytes() == b.read_bytes() else 'differs'}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
