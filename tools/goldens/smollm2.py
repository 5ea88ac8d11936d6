"""The real SmolLM2-135M-Instruct from its GGUF file: logits, losses and continuations."""

import numpy as np
import torch
import torch.nn.functional as F
from gguf import GGUFReader
from gguf.quants import dequantize

from files import largest, read_json, rounded, write_json, write_tensors
from model import build_decoder, in_own_type

CONTINUED = 48  # tokens, also after an end-of-turn
TOP = 20
OUTER = {"token_embd": "model.embed_tokens", "output_norm": "model.norm"}
INNER = {
    "attn_norm": "input_layernorm", "attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj", "ffn_norm": "post_attention_layernorm", "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj"}


def read_config(fields):
    def value(name):
        return fields[f"llama.{name}"].contents()

    hidden, heads = value("embedding_length"), value("attention.head_count")
    return {
        "hidden_size": hidden, "num_hidden_layers": value("block_count"), "num_attention_heads": heads,
        "num_key_value_heads": value("attention.head_count_kv"), "head_dim": hidden // heads, "intermediate_size": value("feed_forward_length"),
        "vocab_size": len(fields["tokenizer.ggml.tokens"].contents()), "rope_theta": value("rope.freq_base"),
        "rms_norm_eps": float(f"{value('attention.layer_norm_rms_epsilon'):.3g}"),  # the file has it in float32
        "tie_word_embeddings": True}


def halves_apart(rows, heads):
    """llama.cpp interleaves the pairs that RoPE rotates in a head's rows; Hugging Face has the first
    elements of all pairs, then the second ones."""
    pairs = rows.unflatten(0, (heads, -1, 2))
    return pairs.transpose(1, 2).flatten(0, 2)


def read_weights(reader, config):
    weights = {}
    for tensor in reader.tensors:
        *block, part, _ = tensor.name.split(".")
        value = torch.from_numpy(np.array(dequantize(tensor.data, tensor.tensor_type), dtype=np.float32))
        if part in ("attn_q", "attn_k"):
            value = halves_apart(value, config["num_attention_heads" if part == "attn_q" else "num_key_value_heads"])
        name = f"model.layers.{block[1]}.{INNER[part]}" if block else OUTER[part]
        weights[f"{name}.weight"] = value
    return weights


def load(config, weights, dtype):
    model = build_decoder({"model_type": "llama", **config}).to(dtype).eval()
    named = dict(model.named_parameters())
    if named.keys() != weights.keys():
        raise ValueError(f"the file and the model differ in {sorted(named.keys() ^ weights.keys())}")
    for name, p in named.items():
        p.copy_(weights[name])
    return model


def score(model, ids):
    """The logits after the last id, and the negative log-likelihood of each id but the first."""
    logits = model(torch.tensor([ids]), use_cache=False).logits[0]
    return logits[-1], F.cross_entropy(logits[:-1], torch.tensor(ids[1:]), reduction="none")


def continuation(model, ids):
    """Greedy ids, and the smallest difference between the two largest logits."""
    given, cache, chosen, lead = torch.tensor([ids]), None, [], float("inf")
    while len(chosen) < CONTINUED:
        step = model(given, past_key_values=cache, use_cache=True)
        cache, (first, second) = step.past_key_values, step.logits[0, -1].topk(2).values
        chosen.append(int(step.logits[0, -1].argmax()))
        lead, given = min(lead, float(first - second)), torch.tensor([chosen[-1:]])
    return chosen, lead


@torch.no_grad()
def make(out, source, gguf):
    """The texts and their ids are those of the set."""
    source, out = source / "smollm2_logits", out / "smollm2_logits"
    reader = GGUFReader(str(gguf))
    config = read_config(reader.fields)
    weights = read_weights(reader, config)
    exact, plain = load(config, weights, torch.float64), load(config, weights, torch.float32)
    in_own_type(exact)
    tensors, prompts, text = {}, read_json(source / "prompts.json"), read_json(source / "text.json")
    words = reader.fields["tokenizer.ggml.tokens"].contents()

    def scored(name, row):
        last, nll = score(exact, row["ids"])
        last32, nll32 = score(plain, row["ids"])
        tensors[f"{name}.nll"] = nll
        row |= {"mean_nll": float(nll.mean()),
                "f32_error": {"logits_max_abs": rounded(largest(last32.double() - last)), "nll_max_abs": rounded(largest(nll32.double() - nll))}}
        return last

    for row in prompts["prompts"]:
        last = tensors[f"{row['name']}.logits"] = scored(row["name"], row)
        chosen, lead = continuation(exact, row["ids"])
        if continuation(plain, row["ids"])[0] != chosen:
            raise ValueError(f"{row['name']}: float32 gives another continuation, which a test cannot compare")
        best = last.topk(TOP)
        row |= {"top20": [{"id": int(i), "logit": float(v.float())} for v, i in zip(*best)],
                "greedy_ids": chosen, "greedy_text": text_of(words, chosen), "greedy_smallest_lead": rounded(lead)}
    scored("text", text)
    write_json(out / "config.json", {"model": "SmolLM2-135M-Instruct, dequantised to float32", **config})
    write_json(out / "prompts.json", prompts)
    write_json(out / "text.json", text)
    write_tensors(out / "values.safetensors", tensors)


def text_of(words, ids):
    from tokenizers.decoders import ByteLevel
    return ByteLevel().decode([words[i] for i in ids])
