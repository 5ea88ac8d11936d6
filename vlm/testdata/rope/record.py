"""Records RoPE's frequencies and what cosines are multiplied by, as transformers computes them from config.json:

    python record.py > recorded.json
"""
import json
import logging

import torch
from transformers import AutoConfig
from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding
from transformers.models.qwen3.modeling_qwen3 import Qwen3RotaryEmbedding

logging.disable(logging.CRITICAL)
LLAMA3 = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 512}
CASES = [
    {}, {"rope_theta": 5e5}, {"rope_theta": 1e6, "rope_scaling": None}, {"rope_parameters": {"rope_type": "default", "rope_theta": 130000.0}},
    {"rope_theta": 777.0, "rope_parameters": {"rope_type": "default", "rope_theta": 130000.0}}, {"rope_theta": 777.0, "rope_parameters": {"rope_type": "default"}},
    {"rope_scaling": {"type": "default"}}, {"rope_scaling": {"rope_type": "linear", "factor": 1.0}}, {"rope_scaling": {"rope_type": "linear", "factor": 4.0}},
    {"rope_scaling": {"type": "linear", "factor": 2.5}, "rope_theta": 5e5}, {"rope_parameters": {"type": "linear", "factor": 2, "rope_theta": 1e4}},
    {"rope_scaling": {"type": "yarn", "rope_type": "linear", "factor": 2.0}},
    {"rope_scaling": {"rope_type": "linear", "factor": 3.0}, "rope_parameters": {"rope_type": "default", "rope_theta": 5e5}},
    {"rope_scaling": {"rope_type": "dynamic", "factor": 2.0}}, {"rope_scaling": {"type": "dynamic", "factor": 8.0}},
    {"rope_theta": 5e5, "rope_scaling": LLAMA3}, {"rope_theta": 5e5, "rope_scaling": {**LLAMA3, "factor": 32.0, "original_max_position_embeddings": 8192}},
    {"rope_parameters": {**LLAMA3, "rope_theta": 5e5, "low_freq_factor": 2.0, "high_freq_factor": 8.0}},
    {"rope_theta": 1e6, "rope_scaling": {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 512}},
    {"rope_theta": 1e6, "rope_scaling": {"type": "yarn", "factor": 4.0}}, {"rope_parameters": {"rope_type": "yarn", "factor": 8.0, "rope_theta": 1e4, "original_max_position_embeddings": 256}},
    {"rope_scaling": {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 512, "beta_fast": 16, "beta_slow": 2}},
    {"rope_scaling": {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 512, "attention_factor": 0.75}},
    {"rope_scaling": {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 512, "mscale": 0.7, "mscale_all_dim": 1.3}},
    {"rope_scaling": {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 512, "mscale": 0.7}},
    {"rope_scaling": {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 512, "truncate": False}},
    {"rope_scaling": {"rope_type": "yarn", "factor": None, "original_max_position_embeddings": 512}},
    {"rope_scaling": {"rope_type": "yarn", "factor": 1.0, "original_max_position_embeddings": 512}},
    {"rope_scaling": {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 512}, "original_max_position_embeddings": 256},
    {"rope_scaling": {"rope_type": "yarn", "factor": 2.0, "original_max_position_embeddings": 16384, "beta_fast": 1}},
]


def main():
    out = []
    for kind, rotary in (("llama", LlamaRotaryEmbedding), ("qwen3", Qwen3RotaryEmbedding)):
        for case in CASES:
            config = {"model_type": kind, "hidden_size": 96, "intermediate_size": 128, "num_hidden_layers": 1, "num_attention_heads": 3, "num_key_value_heads": 3,
                      "head_dim": 32, "vocab_size": 300, "max_position_embeddings": 2048, "rms_norm_eps": 1e-5, **case}
            r = rotary(AutoConfig.for_model(**json.loads(json.dumps(config))))
            out.append({"config": config, "frequencies": r.inv_freq.double().tolist(), "scale": float(r.attention_scaling)})
    print(json.dumps(out, separators=(",", ":")))


main()
