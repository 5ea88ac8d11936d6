"""Makes encoded.json: values, and their blocks by the gguf package, llama.cpp's own.

usage: python make_blocks.py > encoded.json (needs pip install gguf numpy)
"""

import json

import numpy as np
from gguf import GGMLQuantizationType
from gguf.quants import quantize

random = np.random.default_rng(1)
rows = []
for name in ["Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1"]:
    values = (random.standard_normal(96) / 20).astype(np.float32)
    values[32:64] = 0
    values[40] = -0.25
    blocks = quantize(values, GGMLQuantizationType[name])
    rows.append({"type": name, "blocks": blocks.tobytes().hex(), "floats": [float(v) for v in values]})
print("[\n" + ",\n".join(json.dumps(row) for row in rows) + "\n]")
