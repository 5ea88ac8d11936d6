"""Make a set of golden vectors: see README.md.

    python make.py --out DIR                    from the inputs of the committed set
    python make.py --out DIR --seed N           operators and tiny models of another seed
"""

import argparse
import importlib
import warnings
from pathlib import Path

import torch
from transformers.utils import logging

HERE = Path(__file__).resolve().parent
TESTDATA = HERE.parent.parent / "testdata"
FAMILIES = {"ops": "operators", "tiny": "tiny", "images": "images", "packing": "packing", "tokenizers": "tokenizing", "smollm2": "smollm2"}


def main():
    parser = argparse.ArgumentParser(description="Make a set of golden vectors.")
    parser.add_argument("--out", type=Path, required=True, help="folder to write")
    parser.add_argument("--from", dest="source", type=Path, default=TESTDATA / "golden", metavar="SET", help="golden set whose inputs are used")
    parser.add_argument("--seed", type=int, help="draw the inputs of ops and tiny instead")
    parser.add_argument("--only", default=",".join(FAMILIES), help="families, separated by commas")
    parser.add_argument("--models", type=Path, default=TESTDATA / "models", help="folder with the tokenizers")
    parser.add_argument("--gguf", type=Path, help="SmolLM2-135M-Instruct as a GGUF file, for smollm2")
    args = parser.parse_args()
    chosen = args.only.split(",")
    if unknown := set(chosen) - set(FAMILIES):
        parser.error(f"unknown family {', '.join(sorted(unknown))}; want one of {', '.join(FAMILIES)}")

    for path in (args.source, args.gguf):
        if path and not path.exists():
            parser.error(f"not found: {path}")

    torch.set_num_threads(1)  # a fixed order of sums
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    warnings.filterwarnings("ignore")
    for family in chosen:
        module = importlib.import_module(FAMILIES[family])
        match family:
            case "ops" | "tiny":
                module.make(args.out, args.seed, args.source)
            case "tokenizers":
                module.make(args.out, args.source, args.models)
            case "smollm2" if args.gguf is None:
                print("smollm2: skipped, it needs --gguf FILE")
                continue
            case "smollm2":
                module.make(args.out, args.source, args.gguf)
            case _:
                module.make(args.out, args.source)
        print(f"{family}: done", flush=True)


if __name__ == "__main__":
    main()
