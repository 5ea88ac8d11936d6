"""Continues texts by exported decoders in llama.cpp, by matmuls in 32 bits, and compares the tokens with this
project's. For developers.

    for type in f16 q8_0 q4_k_m; do
        bin/vlmtool export --model MODEL --decoder-only --quantize $type --out out/decoder-$type.gguf
    done
    python tools/llamacheck/check.py out/decoder-*.gguf          (needs llama-cpp-python as below, and Go)

    CMAKE_ARGS="-DGGML_BLAS=ON -DGGML_BLAS_VENDOR=OpenBLAS -DGGML_NATIVE=OFF -DGGML_AVX=ON -DGGML_AVX2=ON -DGGML_FMA=ON \
        -DGGML_F16C=ON -DGGML_BMI2=ON -DGGML_OPENMP=OFF -DGGML_CPU_REPACK=OFF -DGGML_LLAMAFILE=OFF" \
        pip install --no-binary llama-cpp-python llama-cpp-python==0.3.36

llama.cpp's own matmuls of quantised weights round the activations to 8 bits; the flags leave AMX, repacked weights and
llamafile's matmuls out, which would come before BLAS. With BLAS it decodes the weights to 32
bits where there are 32 rows or more: so it reads each text with our continuation at once, all rows' logits are asked
for, and every token has to be the one with the largest logit after those before it, which is to say that greedy
decoding is the same. Keys and values are kept in 32 bits.

First the weights are decoded to 32 bits here as well; the exit code is 1 if a token is not the same. Then it is done
with this project's own arithmetic. At a difference both leads are printed: by how much the logit of the chosen token
is above the next.
"""

import json
import subprocess
import sys
from pathlib import Path

import llama_cpp
import numpy as np

TOKENS = 48
LEAST_ROWS = 32  # min_batch in ggml-blas.cpp
CHAT = "<|im_start|>user\n{}<|im_end|>\n<|im_start|>assistant\n"
TEXTS = [
    "Once upon a time, in a small village by the sea, there lived a",
    "The water cycle has several stages. First, the sun heats the surface of the ocean and",
    "def fibonacci(n):\n    if n < 2:\n        return n\n    return",
    CHAT.format("Name three primary colours."),
    CHAT.format("Write one sentence about a dog."),
    CHAT.format("What is the capital of France? Answer in one word, 3 times."),
]


def ours(model: str, weights: str) -> list[dict]:
    command = ["go", "run", "./tools/llamacheck", str(Path(model).resolve()), weights, str(TOKENS)]
    out = subprocess.run(command, input=json.dumps(TEXTS), check=True, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2]).stdout
    return [json.loads(line) for line in out.splitlines()]


def theirs(llm: llama_cpp.Llama, read: list[int]) -> np.ndarray:
    """The logits after every token."""
    llm.reset()
    llm.eval(read + [0] * (LEAST_ROWS - len(read)))  # what comes later is not seen
    return llm.scores[: len(read)]


def compare(model: str, weights: str) -> int:
    """Prints the texts that differ, and returns their number."""
    llm = llama_cpp.Llama(model, n_ctx=512, logits_all=True, flash_attn=False, type_k=llama_cpp.GGML_TYPE_F32, type_v=llama_cpp.GGML_TYPE_F32, verbose=False)
    same, furthest, least = 0, 0.0, float("inf")
    for i, (text, our) in enumerate(zip(TEXTS, ours(model, weights), strict=True)):
        prompt = llm.tokenize(text.encode(), add_bos=False, special=True)
        if prompt != our["prompt"]:
            print(f"  text {i}: the prompts differ: {our['prompt']}, in llama.cpp {prompt}")
            continue
        logits = theirs(llm, prompt + our["ids"])[len(prompt) - 1 : -1]
        for at, (row, chosen, lead) in enumerate(zip(logits, our["ids"], our["leads"], strict=True)):
            second, first = np.argsort(row)[-2:]
            their_lead = row[first] - row[second]
            if first != chosen:
                print(f"  text {i}: token {at} is {chosen}, by {lead:.2g}; in llama.cpp {first}, by {their_lead:.2g}")
                break
            furthest, least = max(furthest, abs(their_lead - lead)), min(least, lead)
        else:
            same += 1
    print(f"  {same} of {len(TEXTS)} texts are the same; their leads are at least {least:.2g}, and differ by at most {furthest:.2g}")
    return len(TEXTS) - same


def main(models: list[str]) -> int:
    different = 0
    for model in models:
        print(f"{model}, decoded to 32 bits:", flush=True)
        different += compare(model, "f32")
        print(f"{model}, in its own arithmetic:", flush=True)
        compare(model, "auto")
    return int(different > 0)


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    sys.exit(main(sys.argv[1:]))
