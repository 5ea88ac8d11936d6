"""The model in PyTorch: our embedder and connector before Transformers' decoder.

Transformers computes RMSNorm, RoPE's angles and attention's softmax in float32 whatever the
model's type is. `in_own_type` replaces these by float64 versions; the rest of the decoder is
Transformers' code unchanged.
"""

import types

import torch
from torch import nn
from transformers import AttentionInterface, AttentionMaskInterface, LlamaConfig, LlamaForCausalLM, Qwen3Config, Qwen3ForCausalLM
from transformers.masking_utils import eager_mask

from rows import cut_patches

DECODERS = {"llama": (LlamaConfig, LlamaForCausalLM), "qwen3": (Qwen3Config, Qwen3ForCausalLM)}


class Embedder(nn.Module):
    """Patches of an image to vectors of the decoder's hidden size."""

    def __init__(self, c):
        super().__init__()
        self.side, features, d = c["patch_size"], c["channels"] * c["patch_size"] ** 2, c["hidden_size"]
        norm = {"eps": c["layer_norm_eps"]}
        self.ln1 = nn.LayerNorm(features, **norm)
        self.fc = nn.Linear(features, d)
        self.ln2 = nn.LayerNorm(d, **norm)
        self.ln3 = nn.LayerNorm(d, **norm)
        self.y_pos_emb = nn.Parameter(torch.empty(c["max_grid"], d))
        self.x_pos_emb = nn.Parameter(torch.empty(c["max_grid"], d))

    def forward(self, pixels, keep):
        """pixels [N,C,H,W] -> [N,patches,D]."""
        down, across = pixels.shape[2] // self.side, pixels.shape[3] // self.side
        x = keep("patches", cut_patches(pixels, self.side))
        for name in ("ln1", "fc", "ln2"):
            x = keep(f"embedder.{name}", getattr(self, name)(x))
        position = self.y_pos_emb[:down, None] + self.x_pos_emb[None, :across]
        x = keep("embedder.pos", x + position.flatten(0, 1))
        return keep("embedder.ln3", self.ln3(x))


class VLM(nn.Module):
    """c is the config.json of a tiny model."""

    def __init__(self, c):
        super().__init__()
        self.image_token = c["image_token_id"]
        self.embedder = Embedder(c)
        self.connector = nn.Linear(c["hidden_size"], c["hidden_size"])
        self.decoder = build_decoder(c["decoder"])

    def forward(self, pixels, input_ids, allowed, positions, keep=lambda name, x: x):
        """pixels [N,C,H,W], input_ids and positions [B,T], allowed [B,T,T] -> logits
        [B,T,V]. keep is called with every stage and its name."""
        features = keep("connector", self.connector(self.embedder(pixels, keep)))
        x = self.decoder.model.embed_tokens(input_ids)
        here = (input_ids == self.image_token)[..., None].expand_as(x)
        if here.sum() != features.numel():
            raise ValueError(f"{int(here[..., 0].sum())} image tokens, but {features[..., 0].numel()} patches")
        x = keep("embeddings", x.masked_scatter(here, features))

        def hook(name):
            def record(module, given, y):
                keep(name, y[0] if isinstance(y, tuple) else y)
            return record

        stages = {f"layer.{i}": layer for i, layer in enumerate(self.decoder.model.layers)} | {"norm": self.decoder.model.norm}
        hooks = [module.register_forward_hook(hook(name)) for name, module in stages.items()]
        mask = torch.zeros_like(allowed, dtype=x.dtype).masked_fill(~allowed, -torch.inf)[:, None]
        y = self.decoder(inputs_embeds=x, attention_mask=mask, position_ids=positions, use_cache=False)
        for h in hooks:
            h.remove()
        return keep("logits", y.logits)


def build_decoder(config):
    """Without pad_token_id, since PyTorch would drop the gradient of every lookup of that id,
    which may also be the id of a text token."""
    kind, theta = config["model_type"], config["rope_theta"]
    rest = {k: v for k, v in config.items() if k not in ("model_type", "rope_theta")}
    settings, model = DECODERS[kind]
    return model(settings(**rest, rope_parameters={"rope_type": "default", "rope_theta": theta}, use_cache=False))


def rms_norm(self, x):
    return self.weight * (x * (x.square().mean(-1, keepdim=True) + self.variance_epsilon).rsqrt())


def rope_angles(self, x, position_ids):
    d = self.config.head_dim
    frequencies = self.config.rope_parameters["rope_theta"] ** (-torch.arange(0, d, 2, dtype=torch.float64) / d)
    angles = (position_ids.double()[..., None] * frequencies).repeat(1, 1, 2)
    return angles.cos().to(x.dtype), angles.sin().to(x.dtype)


def attend(module, q, k, v, mask, scaling, dropout=0.0, **_):
    share = q.shape[1] // k.shape[1]
    scores = scaling * (q @ k.repeat_interleave(share, 1).mT)
    weights = (scores if mask is None else scores + mask).softmax(-1)
    return (weights @ v.repeat_interleave(share, 1)).transpose(1, 2).contiguous(), weights


AttentionInterface.register("own_type", attend)
AttentionMaskInterface.register("own_type", eager_mask)  # makes a call without a mask causal


def in_own_type(decoder):
    decoder.config._attn_implementation = "own_type"
    for module in decoder.modules():
        name = type(module).__name__
        if name.endswith("RMSNorm"):
            module.forward = types.MethodType(rms_norm, module)
        if name.endswith("RotaryEmbedding"):
            module.forward = types.MethodType(rope_angles, module)
    return decoder
