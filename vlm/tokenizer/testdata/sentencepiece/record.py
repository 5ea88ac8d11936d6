"""Records what Hugging Face's tokenizers make of texts with small tokenizers like Gemma's: BPE of characters,
spaces as U+2581, bytes of what is no token:

    python record.py > recorded.json

Each entry is a tokenizer.json with texts, their ids, and the ids' text."""
import json
import random

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers

TEXTS = ["", " ", "  ", "a", " a", "a ", "ab ba  abab", "a\u2581b", "\u2581", "aaaa aaaaa", "ab\nba\n\n\nab", "\n", "\n\n\n\n", "caf\u00e9 \u65e5\u672c\U0001f600", "<t> a<t>b < t>", "<s>a</s>",
         "b" * 40 + " " * 9 + "a" * 33, "ab> </ab", "a\r\n\tb", "\u0301a", "<0x41>", "abba" * 20]


def vocabulary(draw, characters, size, fallback):
    """Pieces, best first, and the merges of every piece's two parts."""
    pieces = ["<unk>", "<s>", "</s>"] + ([f"<0x{b:02X}>" for b in range(256)] if fallback else [])
    tokens = list(characters)
    while len(tokens) < len(characters) + size:
        token = draw.choice(tokens) + draw.choice(tokens)
        if token not in tokens and len(token) < 9:
            tokens.append(token)
    ids = {token: i for i, token in enumerate(pieces + tokens)}
    merges = [(token[:i], token[i:]) for token in tokens for i in range(1, len(token)) if token[:i] in ids and token[i:] in ids]
    return ids, merges


def make(seed, fallback, fuse, split, added):
    draw = random.Random(seed)
    ids, merges = vocabulary(draw, "ab\u2581\n></\u00e9", 40, fallback)
    t = Tokenizer(models.BPE(ids, merges, unk_token="<unk>", fuse_unk=fuse, byte_fallback=fallback))
    t.normalizer = normalizers.Replace(" ", "\u2581")
    t.pre_tokenizer = split
    t.decoder = decoders.Sequence([decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse()])
    t.add_special_tokens([AddedToken("<s>", special=True, normalized=False), AddedToken("</s>", special=True, normalized=False)])
    t.add_tokens(added)
    return t


def main():
    splits = {"merged with previous": pre_tokenizers.Split(" ", "merged_with_previous"), "lines": pre_tokenizers.Split(Regex(r"[^\n]+|[\n]+"), "isolated"), "none": None,
              "after >": pre_tokenizers.Split(">", "merged_with_previous")}
    runs = [AddedToken("\u2581" * n, normalized=True) for n in (2, 3)] + [AddedToken("<t>", normalized=False), AddedToken("\n\n", normalized=False)]
    entries, seed = [], 0
    for name, split in splits.items():
        for fallback in (True, False):
            for fuse in (True, False):
                for added in ([], runs):
                    seed += 1
                    t = make(seed, fallback, fuse, split, added)
                    ids = [t.encode(s, add_special_tokens=False).ids for s in TEXTS]
                    decoded = [t.decode(i, skip_special_tokens=False) for i in ids]
                    entries.append({"name": f"{name}, byte_fallback {fallback}, fuse_unk {fuse}, {len(added)} added", "tokenizer": json.loads(t.to_str()), "ids": ids, "decoded": decoded})
    print(json.dumps({"texts": TEXTS, "entries": entries}, ensure_ascii=True, separators=(",", ":")))


main()
