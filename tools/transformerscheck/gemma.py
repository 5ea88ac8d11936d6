"""Trains a tiny Gemma 4 that transformers has made, and opens the result in transformers again. For developers.

    make build
    python tools/transformerscheck/gemma.py [FOLDER]     (needs pip install torch transformers peft pillow, and Go)

A random Gemma4Unified model is saved by transformers. vlmtool trains adapters on it for ten steps with pictures, and
export --merge writes the merged folder. Logits of a text and of a prompt with a picture are compared: of the model as
made, of the base with its adapter here against the merged folder there, and of the merged folder on both sides; PEFT opens the adapter too. The masks
are those of `create_masks_for_generate`, which the project follows; transformers' plain forward lets a picture see itself
on layers without a window too. The exit code is 1 beyond 1e-4.
"""

import json
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path

import torch
from peft import PeftModel
from PIL import Image, ImageDraw
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers
from transformers import Gemma4UnifiedConfig, Gemma4UnifiedForConditionalGeneration, PreTrainedTokenizerFast
from transformers.utils import logging

ROOT = Path(__file__).resolve().parents[2]
TOLERANCE = 1e-4
IMAGE_TOKENS = 12
WINDOW = 8  # fewer tokens than a picture has
PATCH = 12
SPECIALS = {0: "<pad>", 1: "<eos>", 2: "<bos>", 3: "<unk>", 300: "<|turn>", 301: "<turn|>", 302: "<|channel>", 303: "<channel|>",
            304: "<|think|>", 305: "<|tool_response>", 306: "<|image>", 307: "<|image|>", 308: "<image|>", 309: "<|audio>",
            310: "<|audio|>", 311: "<audio|>", 312: "<|video|>"}
COLORS = {"red": (220, 30, 30), "green": (30, 170, 60), "blue": (40, 60, 220)}


def make_model(folder: Path) -> None:
    """A random model of 313 tokens, far from its first values, so that no factor is hidden."""
    text = {
        "vocab_size": 313, "hidden_size": 48, "intermediate_size": 96, "num_hidden_layers": 4, "num_attention_heads": 4, "num_key_value_heads": 2,
        "head_dim": 16, "num_global_key_value_heads": 1, "global_head_dim": 32, "attention_k_eq_v": True,
        "layer_types": ["sliding_attention", "full_attention"] * 2, "sliding_window": WINDOW, "use_bidirectional_attention": "vision",
        "rope_parameters": {"full_attention": {"rope_type": "proportional", "partial_rotary_factor": 0.25, "rope_theta": 1e6},
                            "sliding_attention": {"rope_type": "default", "rope_theta": 1e4}},
        "final_logit_softcapping": 30.0, "max_position_embeddings": 512, "tie_word_embeddings": True,
        "pad_token_id": 0, "eos_token_id": 1, "bos_token_id": 2, "hidden_size_per_layer_input": 0, "num_kv_shared_layers": 0,
    }
    config = Gemma4UnifiedConfig(
        text_config=text, vision_config={"patch_size": 4, "pooling_kernel_size": 3, "model_patch_size": PATCH, "mm_embed_dim": 40, "output_proj_dims": 40, "mm_posemb_size": 16},
        audio_config={"audio_embed_dim": 640}, boi_token_id=306, image_token_id=307, eoi_token_id=308, boa_token_id=309, audio_token_id=310,
        eoa_token_index=311, video_token_id=312, tie_word_embeddings=True)
    torch.manual_seed(1)
    model = Gemma4UnifiedForConditionalGeneration(config).eval()
    with torch.no_grad():
        for name, p in list(model.named_parameters()) + [(n, b) for n, b in model.named_buffers() if n.endswith("layer_scalar")]:
            if name.endswith("layer_scalar"):
                p.uniform_(0.7, 1.2)
            elif p.ndim == 1 and not name.endswith("bias"):
                p.normal_(0.5 if name.endswith(("q_norm.weight", "k_norm.weight")) else 1.0, 0.2)
            else:
                p.normal_(0, 0.1 if p.ndim == 1 else p.shape[-1] ** -0.5)
    model.save_pretrained(folder)


def make_tokenizer(folder: Path) -> None:
    """Control tokens, bytes and words that no text has, with Gemma 4's chat template."""
    vocab = {SPECIALS.get(i, f"<0x{i - 4:02X}>" if 4 <= i < 260 else f"\u2581unused{i}"): i for i in range(313)}
    tok = Tokenizer(models.BPE(vocab=vocab, merges=[], byte_fallback=True, fuse_unk=True, unk_token="<unk>"))
    tok.normalizer = normalizers.Replace(" ", "\u2581")
    tok.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
    tok.decoder = decoders.Sequence([decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse()])
    tok.add_special_tokens([AddedToken(t, special=True, normalized=False) for t in SPECIALS.values()])
    fast = PreTrainedTokenizerFast(tokenizer_object=tok, bos_token="<bos>", eos_token="<eos>", pad_token="<pad>", unk_token="<unk>")
    fast.chat_template = (ROOT / "testdata/models/Gemma4/chat_template.jinja").read_text()
    fast.save_pretrained(folder)
    generation = {"eos_token_id": [1, 301], "suppress_tokens": [308, 311]}
    (folder / "generation_config.json").write_text(json.dumps(generation))


def make_data(folder: Path) -> None:
    """Squares of three colours, with the name as the answer; a list that data import reads."""
    folder.mkdir()
    rows = []
    for i in range(60):
        name, rgb = list(COLORS.items())[i % 3]
        picture = Image.new("RGB", (48, 36), (250 - i, 240, 200 + i // 2))
        ImageDraw.Draw(picture).rectangle((3 + i % 9, 4, 24 + i % 13, 30), fill=rgb)
        picture.save(folder / f"{i}.png")
        rows.append({"image": f"{i}.png", "question": "what color?", "answer": name})
    (folder / "list.jsonl").write_text("\n".join(map(json.dumps, rows)))


def vlmtool(*args) -> None:
    subprocess.run([ROOT / "bin/vlmtool", *map(str, args)], check=True, cwd=ROOT, stdout=subprocess.DEVNULL)


def ours(model: Path, prompt: Path, adapter: Path | None = None) -> dict:
    command = ["go", "run", "./tools/transformerscheck", str(model), str(prompt)] + ([str(adapter)] if adapter else [])
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT).stdout)


def prompts(folder: Path, picture: str) -> list[Path]:
    """A text of several windows, and a picture with text before and after."""
    text = [2] + [4 + b for b in b"a tiny model reads this line of bytes, longer than its window"]
    seen = [2, 300] + [4 + b for b in b"look: "] + [306] + [307] * IMAGE_TOKENS + [308] + [4 + b for b in b"what color?"] + [301]
    files = []
    for i, p in enumerate(({"ids": text}, {"ids": seen, "images": [picture], "image_tokens": IMAGE_TOKENS})):
        files.append(folder / f"prompt{i}.json")
        files[-1].write_text(json.dumps(p))
    return files


@torch.no_grad()
def theirs(folder: Path, prompt: Path, seen: dict, plain: bool = False, adapter: Path | None = None) -> torch.Tensor:
    """Logits [T, V] by transformers, with the pixels that vlmtool has made of the picture."""
    model = Gemma4UnifiedForConditionalGeneration.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()
    if adapter:
        model = PeftModel.from_pretrained(model, adapter).merge_and_unload()
    ids = torch.tensor([json.loads(prompt.read_text())["ids"]])
    kinds = (ids == 307).long()
    given = {"input_ids": ids, "mm_token_type_ids": kinds, "use_cache": False}
    if seen["grids"]:
        grid = seen["grids"][0]
        rows, cols = grid["Rows"], grid["Cols"]
        given["pixel_values"] = torch.tensor(seen["pixels"], dtype=torch.float32).view(1, rows * cols, 3 * PATCH * PATCH) / 255
        given["image_position_ids"] = torch.tensor([[[i % cols, i // cols] for i in range(rows * cols)]])
    if not plain:
        embeds = torch.zeros(1, ids.shape[1], 1)
        common = {"inputs_embeds": embeds, "attention_mask": torch.ones_like(ids), "past_key_values": None, "position_ids": torch.arange(ids.shape[1])[None]}
        given["attention_mask"] = model.create_masks_for_generate(model.config, mm_token_type_ids=kinds, **common)
        given["position_ids"] = common["position_ids"]
    return model(**given).logits[0]


def main(folder: Path) -> int:
    base, run, merged = folder / "base", folder / "run", folder / "merged"
    base.mkdir(parents=True)
    make_model(base)
    make_tokenizer(base)
    make_data(folder / "pictures")
    vlmtool("data", "import", folder / "pictures/list.jsonl", "--out", folder / "data")
    vlmtool("train", "--model", base, "--data", folder / "data", "--out", run, "--lora-rank", 4, "--steps", 10, "--seq-len", 128, "--batch-size", 2,
            "--image-tokens", IMAGE_TOKENS, "--lr", 0.01, "--warmup", 2, "--turns", "conversation", "--val-every", 0, "--device", "cpu", "--quiet")
    vlmtool("export", "--merge", "--model", base, "--adapter", run / "adapter", "--out", merged)
    losses = [row["loss"] for row in map(json.loads, (run / "metrics.jsonl").read_text().splitlines()) if "loss" in row]
    print(f"loss {losses[0]:.3f} to {losses[-1]:.3f} in {len(losses)} steps")
    worst = 0.0
    for prompt in prompts(folder, "pictures/7.png"):
        before, after = ours(base, prompt), ours(merged, prompt)
        apart = ours(base, prompt, run / "adapter")
        hub, hub_merged = theirs(base, prompt, before), theirs(merged, prompt, after)
        pairs = {"as made": (before, hub), "merged": (after, hub_merged), "base and adapter": (apart, hub_merged),
                 "adapter in PEFT": (apart, theirs(base, prompt, after, adapter=run / "adapter"))}
        for name, (mine, want) in pairs.items():
            difference = (torch.tensor(mine["logits"]) - want).abs().max().item()
            print(f"{prompt.stem}, {name}: {len(want)} tokens, logits differ by {difference:.2g} of {want.abs().max():.3g}")
            worst = max(worst, difference)
        print(f"{prompt.stem}: training moved logits by {(hub_merged - hub).abs().max():.2g}; transformers' plain forward differs by {(theirs(merged, prompt, after, plain=True) - hub_merged).abs().max():.2g}")
    print(f"largest difference {worst:.2g}, allowed {TOLERANCE:g}")
    return int(not worst <= TOLERANCE)


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    logging.disable_progress_bar()
    if len(sys.argv) > 2:
        sys.exit(__doc__)
    if len(sys.argv) == 2:
        sys.exit(main(Path(sys.argv[1]).resolve()))
    with tempfile.TemporaryDirectory() as temp:
        sys.exit(main(Path(temp)))
