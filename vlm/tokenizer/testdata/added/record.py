"""Records how Hugging Face's tokenizers find added tokens, and what its post-processors put around a text:

    python record.py > recorded.json

Each entry is a tokenizer.json with the ids of some texts, without and with special tokens."""
import itertools
import json

from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

TEXTS = ["a<t>b", "a <t> b", "a  <t>\n\n b", "<t>", " <t> ", "x<t>", "<t>x", "_<t>", "é <t>é", "<t><t> <t>", "a <t> <u> b", "<u> <t>",
         "\u00e9<e\u0301>b", "<\u00e9> <e\u0301>", "a word words word", "word-word word1 word\u0301 x", "<longer> <long>", "\u3000<t>\u00a0\u2028b", ""]


def alphabet():
    return {c: i for i, c in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}


def make(added, nfc=False, post=None):
    t = Tokenizer(models.BPE(alphabet(), []))
    if nfc:
        t.normalizer = normalizers.NFC()
    t.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    t.decoder = decoders.ByteLevel()
    for a in added:
        (t.add_special_tokens if a.special else t.add_tokens)([a])
    if post:
        t.post_processor = post(t)
    return t


def entry(name, t):
    plain = [t.encode(s, add_special_tokens=False).ids for s in TEXTS]
    around = [t.encode(s).ids for s in TEXTS]
    return {"name": name, "tokenizer": json.loads(t.to_str()), "ids": plain, "with_special_tokens": around if around != plain else None}


def main():
    out = []
    for single, left, right, normalized, special, nfc in itertools.product([False, True], repeat=6):
        a = [AddedToken(c, single_word=single, lstrip=left, rstrip=right, normalized=normalized, special=special) for c in ("<t>", "<e\u0301>", "word")]
        a += [AddedToken("<u>", normalized=normalized, special=special), AddedToken("<long>", special=True), AddedToken("<longer>", special=True)]
        out.append(entry(f"single_word {single}, lstrip {left}, rstrip {right}, normalized {normalized}, special {special}, NFC {nfc}", make(a, nfc)))
    s = [AddedToken("<s>", special=True), AddedToken("</s>", special=True)]
    template = lambda single: lambda t: processors.TemplateProcessing(single=single, special_tokens=[("<s>", t.token_to_id("<s>")), ("</s>", t.token_to_id("</s>"))])
    around = lambda t: (("</s>", t.token_to_id("</s>")), ("<s>", t.token_to_id("<s>")))
    for name, post in (("<s> $A", template("<s> $A")), ("<s> <s> $A </s>", template("<s> <s> $A </s>")), ("$A </s>", template("$A </s>")),
                       ("ByteLevel", lambda t: processors.ByteLevel(trim_offsets=False)),
                       ("Sequence", lambda t: processors.Sequence([processors.ByteLevel(), template("<s> $A")(t)])),
                       ("Sequence of two", lambda t: processors.Sequence([template("<s> $A")(t), template("$A </s>")(t)])),
                       ("Roberta", lambda t: processors.RobertaProcessing(*around(t))), ("Bert", lambda t: processors.BertProcessing(*around(t)))):
        out.append(entry("post-processor " + name, make(s, post=post)))
    for e in out:
        e["tokenizer"]["model"]["vocab"] = {}  # the byte-level alphabet, sorted: the test has it too
    print(json.dumps({"texts": TEXTS, "entries": out}, ensure_ascii=True, separators=(",", ":")))


main()
