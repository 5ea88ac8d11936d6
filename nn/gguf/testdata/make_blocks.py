"""Makes blocks.json: random blocks of every type, and what the gguf package, llama.cpp's own, makes of them.

usage: python make_blocks.py > blocks.json (needs pip install gguf numpy)
"""

import json

import numpy as np
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType
from gguf.quants import dequantize

BLOCKS = 3
# Where the F16 scales lie in a block; random bytes there would mostly be absurd.
SCALES = {"Q4_0": [0], "Q4_1": [0, 2], "Q8_0": [0], "Q4_K": [0, 2], "Q6_K": [208], "F16": [0], "BF16": [],
          "Q5_0": [0], "Q5_1": [0, 2], "Q5_K": [0, 2]}

random = np.random.default_rng(1)
rows = []
for name, places in SCALES.items():
    kind = GGMLQuantizationType[name]
    _, size = GGML_QUANT_SIZES[kind]
    blocks = random.integers(0, 256, (BLOCKS, size), dtype=np.uint8)
    for place in places:
        scales = (random.standard_normal(BLOCKS) * 0.02).astype(np.float16)
        blocks[:, place:place + 2] = scales.view(np.uint8).reshape(BLOCKS, 2)
    if name == "BF16":
        blocks = (random.standard_normal(BLOCKS).astype(np.float32).view(np.uint32) >> 16).astype(np.uint16).view(np.uint8)
    elif name == "F16":
        blocks = blocks.reshape(-1).view(np.float16)
    values = np.asarray(dequantize(blocks.reshape(-1), kind), dtype=np.float32)
    rows.append({"type": name, "blocks": np.ascontiguousarray(blocks).tobytes().hex(), "floats": values.tobytes().hex()})
print("[\n" + ",\n".join(json.dumps(row) for row in rows) + "\n]")
