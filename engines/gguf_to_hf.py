"""Turns a GGUF file into a model folder. Runs in the engines' environment: `python gguf_to_hf.py GGUF FOLDER`."""

from __future__ import annotations

import sys
from pathlib import Path


def convert_gguf(gguf: Path, folder: Path) -> None:
    """Writes the weights (dequantised to bfloat16), tokenizer and chat template that the GGUF file contains."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name).save_pretrained(folder)
    AutoModelForCausalLM.from_pretrained(
        gguf.parent,
        gguf_file=gguf.name,
        dtype=torch.bfloat16,
        quantization_config=GgufConfig(dequantize=True),
    ).save_pretrained(folder)


if __name__ == "__main__":
    convert_gguf(Path(sys.argv[1]), Path(sys.argv[2]))
