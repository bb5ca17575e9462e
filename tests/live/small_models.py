"""Small variants of models that are too large for most machines: the same architectures, with random weights.

They show by hand whether an architecture works with vLLM and the connector; the answers mean nothing. ARCHITECTURE is
one of llava, llava-onevision, phi3v, ultravox (the last two with `--trust-remote-code` after `--load-format dummy`).
With no stack running:

    export PATH=$PWD/.arena/env/engines/bin:$PATH arena=.arena/env/app/bin/python
    export MODEL=/tmp/small KV_CACHE_MEMORY_GB=0.25
    python tests/live/small_models.py ARCHITECTURE .arena/models/SmolLM2-135M-Omni $MODEL
    $arena -m cache serve cache-a &
    eval "env VLLM_SERVER_DEV_MODE=1 $($arena -m engines serve lmcache-a --print) --load-format dummy" &
    $arena -m engines chat --engine lmcache-a --chat-type single-image
    curl -X POST http://127.0.0.1:8003/reset_prefix_cache
    $arena -m engines chat --engine lmcache-a --chat-type single-image     # now from LMCache's memory

The processors of Phi-3.5-vision and Ultravox are code on the hub, which is not used here. The two below implement only
what vLLM needs from a processor, and split pictures and sound in a simpler way.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import (
    AutoTokenizer,
    BatchFeature,
    CLIPImageProcessor,
    LlavaOnevisionImageProcessor,
    LlavaOnevisionProcessor,
    LlavaOnevisionVideoProcessor,
    LlavaProcessor,
    PreTrainedTokenizerBase,
    ProcessorMixin,
    WhisperFeatureExtractor,
)

Config = dict[str, Any]
TOKENS = {"image_token": "<image>", "video_token": "<video>", "audio_token": "<|audio|>"}
# Contents are strings here: vLLM writes each architecture's own placeholders into them.
CHAT = """{% for message in messages %}<|im_start|>{{ message['role'] }}
{{ message['content'] }}<|im_end|>
{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant
{% endif %}"""
LANGUAGE = {
    "hidden_size": 256,
    "intermediate_size": 512,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 8192,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 2,
}
TOWER = {"hidden_size": 128, "intermediate_size": 256, "num_hidden_layers": 3, "num_attention_heads": 2}


def build(architecture: str, text: Path, folder: Path) -> None:
    """Writes everything that vLLM reads except the weights. `text` is a folder with SmolLM2's tokenizer."""
    tokenizer = AutoTokenizer.from_pretrained(text, extra_special_tokens=TOKENS)
    config, processor = ARCHITECTURES[architecture](tokenizer)
    processor.save_pretrained(folder)
    (folder / "config.json").write_text(json.dumps(config, indent=1))
    if type(processor).__module__ == __name__:
        _bring_code(folder, type(processor).__name__)


def _bring_code(folder: Path, processor: str) -> None:
    """Adds this file as the processor's code, like models on the hub that include theirs."""
    code = Path(shutil.copy(__file__, folder))
    described = folder / "processor_config.json"
    settings = json.loads(described.read_text()) | {"auto_map": {"AutoProcessor": f"{code.stem}.{processor}"}}
    described.write_text(json.dumps(settings, indent=1))


def llava(tokenizer: PreTrainedTokenizerBase) -> tuple[Config, ProcessorMixin]:
    """Builds LLaVA with CLIP: images of 336 x 336 in patches of 14, so 576 tokens per image."""
    config = {
        "architectures": ["LlavaForConditionalGeneration"],
        "model_type": "llava",
        "text_config": _language("llama", tokenizer),
        "vision_config": TOWER | {"model_type": "clip_vision_model", "image_size": 336, "patch_size": 14},
        "image_token_index": tokenizer.convert_tokens_to_ids(TOKENS["image_token"]),
    }
    seeing = CLIPImageProcessor(size={"shortest_edge": 336}, crop_size={"height": 336, "width": 336})
    processor = LlavaProcessor(
        seeing,
        tokenizer,
        patch_size=14,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=CHAT,
    )
    return config, processor


def llava_onevision(tokenizer: PreTrainedTokenizerBase) -> tuple[Config, ProcessorMixin]:
    """Builds LLaVA-OneVision with SigLIP: 384 x 384, 196 tokens per frame; images are split into crops by size."""
    config = {
        "architectures": ["LlavaOnevisionForConditionalGeneration"],
        "model_type": "llava_onevision",
        "text_config": _language("qwen2", tokenizer),
        "vision_config": TOWER
        | {"model_type": "siglip_vision_model", "image_size": 384, "patch_size": 14, "vision_use_head": False},
        "image_token_index": tokenizer.convert_tokens_to_ids(TOKENS["image_token"]),
        "video_token_index": tokenizer.convert_tokens_to_ids(TOKENS["video_token"]),
    }
    processor = LlavaOnevisionProcessor(
        LlavaOnevisionImageProcessor(),
        tokenizer,
        LlavaOnevisionVideoProcessor(),
        num_image_tokens=(384 // 14) ** 2,
        vision_feature_select_strategy="full",
        chat_template=CHAT,
    )
    return config, processor


def phi3v(tokenizer: PreTrainedTokenizerBase) -> tuple[Config, ProcessorMixin]:
    """Builds Phi-3.5-vision. Its config class, phi3_v, is on the hub, too; phi3's can carry its additional fields."""
    config = _language("phi3", tokenizer) | {
        "architectures": ["Phi3VForCausalLM"],
        # vLLM fixes the vision tower's shape (CLIP large); here only two of its layers are used
        "img_processor": {"layer_idx": 1, "image_dim_out": 1024, "num_img_tokens": 144},
        "embd_layer": {"use_hd_transform": True, "with_learnable_separator": True, "hd_transform_order": "sub_glb"},
    }
    seeing = CLIPImageProcessor(do_resize=False, do_center_crop=False)
    return config, Phi3VProcessor(seeing, tokenizer, chat_template=CHAT)


class Phi3VProcessor(ProcessorMixin):
    """Splits each image, of any size, into the whole image and two rows of two crops."""

    SIDE = 336
    ROWS = 2
    GRID = 12  # tokens along each side of a crop; each row of tokens ends with an extra one
    NUM_IMAGE_TOKENS = ROWS * GRID * (ROWS * GRID + 1) + 1 + GRID * (GRID + 1)

    def __init__(self, image_processor: Any, tokenizer: Any, chat_template: str | None = None) -> None:
        super().__init__(image_processor, tokenizer, chat_template=chat_template)

    @property
    def img_tokens(self) -> Sequence[str]:
        return [f"<|image_{number}|>" for number in range(1, 1000)]

    def calc_num_image_tokens_from_image_size(self, width: int, height: int) -> int:  # noqa: ARG002 (vLLM calls it so)
        return self.NUM_IMAGE_TOKENS

    def __call__(self, text: str = "", images: Sequence[Any] = (), **_: Any) -> BatchFeature:  # noqa: ARG002
        whole = self.ROWS * self.SIDE
        seen = [self.image_processor(self._cut(each), return_tensors="pt")["pixel_values"] for each in images]
        return BatchFeature(
            {"pixel_values": torch.stack(seen), "image_sizes": torch.tensor([[whole, whole]] * len(seen))}
        )

    def _cut(self, image: Any) -> Sequence[Any]:
        """Returns the whole image, then the crops, each of SIDE x SIDE pixels."""
        side, whole = self.SIDE, self.ROWS * self.SIDE
        image = image.convert("RGB")
        large = image.resize((whole, whole))
        corners = [(left, top) for top in range(0, whole, side) for left in range(0, whole, side)]
        crops = [large.crop((left, top, left + side, top + side)) for left, top in corners]
        return [image.resize((side, side)), *crops]


def ultravox(tokenizer: PreTrainedTokenizerBase) -> tuple[Config, ProcessorMixin]:
    """Builds Ultravox with its language and audio models in one folder; on the hub they are separate models."""
    language = _language("llama", tokenizer)
    config = {
        "architectures": ["UltravoxModel"],
        "model_type": "ultravox",
        "text_config": language,
        "audio_config": {"model_type": "whisper", "d_model": 128, "num_mel_bins": 80}
        | {"encoder_layers": 2, "encoder_attention_heads": 2, "encoder_ffn_dim": 256},
        "audio_token_index": tokenizer.convert_tokens_to_ids(TOKENS["audio_token"]),
        "hidden_size": 512,  # of the projector
        "stack_factor": UltravoxProcessor.STACK,
        "projector_ln_mid": True,  # as in version 0.5
        "vocab_size": language["vocab_size"],
    }
    return config, UltravoxProcessor(WhisperFeatureExtractor(feature_size=80), tokenizer, chat_template=CHAT)


class UltravoxProcessor(ProcessorMixin):
    """Splits sound into pieces of 30 s, with 6.25 tokens per second."""

    STACK = 8  # encoder frames per token

    def __init__(self, feature_extractor: Any, tokenizer: Any, chat_template: str | None = None) -> None:
        super().__init__(feature_extractor, tokenizer, chat_template=chat_template)

    @property
    def audio_processor(self) -> WhisperFeatureExtractor:
        return self.feature_extractor

    def __call__(
        self,
        text: str = "",  # noqa: ARG002
        audios: Sequence[Any] = (),
        sampling_rate: int = 0,
        **_: Any,
    ) -> BatchFeature:
        hearing, step = self.feature_extractor, self.feature_extractor.n_samples
        cut = [[sound[at : at + step] for at in range(0, len(sound), step)] for sound in audios]
        pieces = [piece for each in cut for piece in each]
        lens = torch.tensor([-(-len(piece) // hearing.hop_length) for piece in pieces])
        heard = hearing(pieces, sampling_rate=sampling_rate, return_tensors="pt")
        return BatchFeature(
            {
                "audio_values": heard["input_features"],
                "audio_lens": lens,
                "audio_token_len": -(-lens // (2 * self.STACK)),  # the encoder halves the frames
                "audio_num_chunks": torch.tensor([len(each) for each in cut]),
            }
        )


def _language(model_type: str, tokenizer: PreTrainedTokenizerBase) -> Config:
    return LANGUAGE | {"model_type": model_type, "vocab_size": len(tokenizer)}


ARCHITECTURES: Mapping[str, Callable[[PreTrainedTokenizerBase], tuple[Config, ProcessorMixin]]] = {
    "llava": llava,
    "llava-onevision": llava_onevision,
    "phi3v": phi3v,
    "ultravox": ultravox,
}

if __name__ == "__main__":
    build(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))
