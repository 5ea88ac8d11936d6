"""Opens an exported decoder in transformers and compares its logits with this project's. For developers.

    bin/vlmtool export --model MODEL --decoder-only --out DECODER
    python tools/transformerscheck/check.py MODEL DECODER     (needs pip install torch transformers, and Go)

MODEL is the exported model's folder or GGUF file. Tokens, chat prompt, every token's negative log-likelihood
and the last logits are compared; the exit code is 1 beyond 1e-3.
"""

import json
import subprocess
import sys
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

TOLERANCE = 1e-3
TEXTS = [
    "Once upon a time, in a small village by the sea, there lived a",
    "def fibonacci(n):\n    if n < 2:\n        return n\n    return",
]
QUESTION = [{"role": "user", "content": "What is the capital of France? Answer in one word, 3 times."}]


@torch.no_grad()
def main(model: str, decoder: str) -> int:
    tokenizer = AutoTokenizer.from_pretrained(decoder)
    theirs = AutoModelForCausalLM.from_pretrained(decoder, dtype=torch.float32).eval()
    prompts = [tokenizer.encode(text, add_special_tokens=False) for text in TEXTS]
    prompts.append(tokenizer(tokenizer.apply_chat_template(QUESTION, add_generation_prompt=True, tokenize=False), add_special_tokens=False).input_ids)
    worst = 0.0
    for ids in prompts:
        logits = theirs(torch.tensor([ids]), use_cache=False).logits[0]
        nll = torch.nn.functional.cross_entropy(logits[:-1], torch.tensor(ids[1:]), reduction="none")
        command = ["go", "run", "./tools/transformerscheck", str(Path(model).resolve()), ",".join(map(str, ids))]
        out = subprocess.run(command, check=True, capture_output=True, text=True, cwd=Path(__file__).parents[2]).stdout
        ours = {name: torch.tensor(values) for name, values in json.loads(out).items()}
        by_logits = (ours["logits"] - logits[-1]).abs().max().item()
        by_nll = (ours["nll"] - nll).abs().max().item()
        print(f"{len(ids)} tokens: logits differ by {by_logits:.2g} of {logits[-1].abs().max().item():.3g}, NLL by {by_nll:.2g}")
        worst = max(worst, by_logits, by_nll)
    print(f"largest difference {worst:.2g}, allowed {TOLERANCE:g}")
    return int(not worst <= TOLERANCE)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    sys.exit(main(sys.argv[1], sys.argv[2]))
