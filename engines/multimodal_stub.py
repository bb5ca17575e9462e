"""Adds image, video and audio encoders with random weights to a text model.

Runs in the engines' environment: `python multimodal_stub.py TEXT_MODEL FOLDER`. The architecture is that of
Qwen2.5-Omni's thinker, which vLLM serves with text, images, video and audio in one model. The language weights are the
text model's, so it answers text prompts as that model does; it does not recognise what an image shows.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor, nn
    from transformers import PreTrainedTokenizerBase

SEED = 0
TOKENS = {
    "image_token": "<|IMAGE|>",
    "video_token": "<|VIDEO|>",
    "audio_token": "<|AUDIO|>",
    "vision_bos_token": "<|vision_bos|>",
    "vision_eos_token": "<|vision_eos|>",
    "audio_bos_token": "<|audio_bos|>",
    "audio_eos_token": "<|audio_eos|>",
}
UNUSED = "<empty_output>"  # never generated in a chat: each new token gets a copy of its embedding
VISION = {"depth": 2, "hidden_size": 128, "intermediate_size": 256, "num_heads": 4, "fullatt_block_indexes": [1]}
AUDIO = {"encoder_layers": 2, "d_model": 128, "encoder_ffn_dim": 256, "encoder_attention_heads": 4, "num_mel_bins": 80}
SHARED_SETTINGS = (  # these mean the same in both architectures
    *("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads"),
    *("hidden_act", "max_position_embeddings", "rms_norm_eps", "rope_parameters", "tie_word_embeddings"),
    *("bos_token_id", "eos_token_id", "pad_token_id"),
)
CONTENT = "message['content']"  # as written in the text model's chat template, where it is always a string
# A chat-template macro that renders content given as a string or as a list of parts
PARTS = """{%- macro parts(content) -%}
{%- if content is string -%}{{- content -}}
{%- else -%}
{%- for part in content -%}
{%- if 'image' in part['type'] -%}{{- '<|vision_bos|><|IMAGE|><|vision_eos|>' -}}
{%- elif 'video' in part['type'] -%}{{- '<|vision_bos|><|VIDEO|><|vision_eos|>' -}}
{%- elif 'audio' in part['type'] -%}{{- '<|audio_bos|><|AUDIO|><|audio_eos|>' -}}
{%- else -%}{{- part['text'] -}}
{%- endif -%}
{%- endfor -%}
{%- endif -%}
{%- endmacro -%}
"""


def build_stub(text: Path, folder: Path) -> None:
    """Writes the same bytes every time. `text` is the folder of a Llama model; its tokenizer and weights are used."""
    from safetensors.torch import load_file, save_file
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(text, extra_special_tokens=TOKENS)
    settings = stub_config(json.loads((text / "config.json").read_text()), tokenizer)
    weights = _language_weights(load_file(text / "model.safetensors"), tokenizer) | _encoder_weights(
        settings["thinker_config"]
    )
    _processor(tokenizer, stub_template((text / "chat_template.jinja").read_text())).save_pretrained(folder)
    (folder / "config.json").write_text(json.dumps(settings, indent=1))
    (folder / "generation_config.json").write_bytes((text / "generation_config.json").read_bytes())
    save_file(weights, folder / "model.safetensors", {"format": "pt"})


def stub_config(text: dict[str, Any], tokenizer: PreTrainedTokenizerBase) -> dict[str, Any]:
    """Returns the content of config.json. Positions are one-dimensional, as in the text model."""
    ids = {name: tokenizer.convert_tokens_to_ids(token) for name, token in TOKENS.items()}
    width = text["hidden_size"]
    thinker = {
        "text_config": {key: text[key] for key in SHARED_SETTINGS}
        | {"vocab_size": len(tokenizer), "dtype": text["dtype"]},
        "vision_config": VISION | {"out_hidden_size": width},
        "audio_config": AUDIO | {"output_dim": width},
        "image_token_index": ids["image_token"],
        "video_token_index": ids["video_token"],
        "audio_token_index": ids["audio_token"],
        "vision_start_token_id": ids["vision_bos_token"],
        "vision_end_token_id": ids["vision_eos_token"],
        "audio_start_token_id": ids["audio_bos_token"],
        "audio_end_token_id": ids["audio_eos_token"],
        "tie_word_embeddings": True,
    }
    return {
        "architectures": ["Qwen2_5OmniModel"],
        "model_type": "qwen2_5_omni",
        "dtype": text["dtype"],
        "enable_audio_output": False,
        "thinker_config": thinker,
        "tie_word_embeddings": True,
    }


def stub_template(text: str) -> str:
    """Returns the text model's chat template, changed so that a message's content may be a list of parts.

    Messages without media are rendered as before.
    """
    return PARTS + text.replace(CONTENT, f"parts({CONTENT})")


def _processor(tokenizer: PreTrainedTokenizerBase, chat_template: str) -> Any:
    from transformers import Qwen2_5OmniProcessor, Qwen2VLImageProcessor, Qwen2VLVideoProcessor, WhisperFeatureExtractor

    audio = WhisperFeatureExtractor(feature_size=AUDIO["num_mel_bins"])
    images, videos = Qwen2VLImageProcessor(), Qwen2VLVideoProcessor()
    return Qwen2_5OmniProcessor(images, videos, audio, tokenizer, chat_template=chat_template)


def _language_weights(weights: dict[str, Tensor], tokenizer: PreTrainedTokenizerBase) -> dict[str, Tensor]:
    """Returns the text model's tensors under the thinker's names, plus zero biases, which Llama lacks."""
    import torch

    words = weights["model.embed_tokens.weight"]
    unused = words[tokenizer.convert_tokens_to_ids(UNUSED)]
    weights["model.embed_tokens.weight"] = torch.cat([words, unused.repeat(len(tokenizer) - len(words), 1)])
    for name in [name for name in weights if name.endswith(("q_proj.weight", "k_proj.weight", "v_proj.weight"))]:
        weights[name.replace("weight", "bias")] = weights[name].new_zeros(len(weights[name]))
    return {f"thinker.{name}": tensor for name, tensor in weights.items()}


def _encoder_weights(thinker: dict[str, Any]) -> dict[str, Tensor]:
    """Returns the weights of two small encoders.

    numpy generates them, because its random numbers are the same on every processor.
    """
    import numpy as np
    import torch
    from transformers.models.qwen2_5_omni import modeling_qwen2_5_omni as omni

    settings = omni.Qwen2_5OmniThinkerConfig(**thinker)
    with torch.device("meta"):
        encoders = {
            "thinker.visual": omni.Qwen2_5OmniVisionEncoder(settings.vision_config),
            "thinker.audio_tower": omni.Qwen2_5OmniAudioEncoder(settings.audio_config),
        }
    generator = np.random.default_rng(SEED)
    return {
        f"{prefix}.{name}": _random(name, parameter, generator)
        for prefix, encoder in encoders.items()
        for name, parameter in encoder.named_parameters()
    }


def _random(name: str, parameter: nn.Parameter, generator: Any) -> Tensor:
    """Returns a zero bias, a norm weight of ones, or a random matrix that keeps the magnitude of its input."""
    import torch

    if parameter.dim() == 1:
        weights = torch.zeros(parameter.shape) if name.endswith("bias") else torch.ones(parameter.shape)
    else:
        inputs = parameter[0].numel()
        weights = torch.from_numpy(generator.standard_normal(parameter.shape, "float32")) / inputs**0.5
    return weights.to(torch.bfloat16)


if __name__ == "__main__":
    build_stub(Path(sys.argv[1]), Path(sys.argv[2]))
