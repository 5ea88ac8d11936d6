"""Tokenizers by Hugging Face's tokenizers, chat templates by Transformers."""

from tokenizers import AddedToken, Tokenizer
from tokenizers.pre_tokenizers import ByteLevel
from transformers import PreTrainedTokenizerFast

from files import read_json, read_lines, write_json, write_lines

IMAGE = "<|image|>"


def encode(tokenizer, text, special=True):
    """Without `special` the text of special tokens is ordinary text."""
    tokenizer.encode_special_tokens = not special
    return tokenizer.encode(text, add_special_tokens=False).ids


def decoded(tokenizer, ids):
    return {"decoded": tokenizer.decode(ids, skip_special_tokens=False), "decoded_skip_special": tokenizer.decode(ids, skip_special_tokens=True)}


def of_text(tokenizer, text):
    ids, plain = encode(tokenizer, text), encode(tokenizer, text, special=False)
    return {"ids": ids, "ids_plain": plain, **decoded(tokenizer, ids), "decoded_plain": tokenizer.decode(plain, skip_special_tokens=False)}


def of_chat(tokenizer, wrapper, messages, row):
    settings = {name: row[name] for name in ("add_generation_prompt", "enable_thinking") if name in row}
    text = wrapper.apply_chat_template(messages, tokenize=False, **settings)
    return {"rendered": text, "ids": encode(tokenizer, text)}


def messages_of(row):
    """A conversation's messages, with the image tokens before the first question."""
    messages = [{"role": "system", "content": row["system"]}] if "system" in row else []
    before = IMAGE * row["image_tokens"]
    for turn in row["texts"]:
        messages.append({"role": "user", "content": before + turn["user"]})
        if "assistant" in turn:
            messages.append({"role": "assistant", "content": turn["assistant"]})
        before = ""
    return messages


def without_token(tokenizer):
    """The bytes without a token of their own. In the byte-level alphabet printable bytes are their
    own characters, the others are numbered from 256."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [b for b in range(256) if b not in printable]
    character = {b: chr(b) for b in printable} | {b: chr(256 + i) for i, b in enumerate(others)}
    assert set(character.values()) == set(ByteLevel.alphabet())
    return [b for b in range(256) if tokenizer.token_to_id(character[b]) is None]


def info(tokenizer, before):
    added = sorted(tokenizer.get_added_tokens_decoder().items())
    image = tokenizer.get_vocab_size()
    if tokenizer.add_special_tokens([AddedToken(IMAGE, normalized=False)]) != 1 or tokenizer.token_to_id(IMAGE) != image:
        raise ValueError(f"{IMAGE} is not the tokenizer's next token")
    return before | {"vocabulary": image, "image_token_id": image, "bytes_without_a_token": without_token(tokenizer),
                     "added_tokens": [{"id": i, "content": t.content, "special": t.special} for i, t in added]}


def make(out, source, models):
    """The texts, ids and conversations are those of the set."""
    for folder in sorted((source / "tokenizers").iterdir()):
        files = models / folder.name
        if not (files / "tokenizer.json").exists():
            print(f"tokenizers: {folder.name} skipped, {models} has no tokenizer.json for it")
            continue
        tokenizer = Tokenizer.from_file(str(files / "tokenizer.json"))
        template = read_json(files / "tokenizer_config.json")["chat_template"]
        wrapper = PreTrainedTokenizerFast(tokenizer_file=str(files / "tokenizer.json"), chat_template=template)

        def rewrite(name, values):
            write_lines(out / "tokenizers" / folder.name / name, [row | values(row) for row in read_lines(folder / name)])

        rewrite("tokenizers.jsonl", lambda row: of_text(tokenizer, row["text"]))
        rewrite("decode.jsonl", lambda row: decoded(tokenizer, row["ids"]))
        rewrite("chat.jsonl", lambda row: of_chat(tokenizer, wrapper, row["messages"], row))
        about = info(tokenizer, read_json(folder / "info.json"))  # from here on with the image token
        write_json(out / "tokenizers" / folder.name / "info.json", about)
        rewrite("image_conversations.jsonl", lambda row: {"image_token_id": about["image_token_id"]} | of_chat(tokenizer, wrapper, messages_of(row), row))
