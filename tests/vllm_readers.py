"""Prints as JSON what vLLM's readers make of a folder's files, named `KIND.…`. The engines' Python runs it.

Files that the stand-in model's processor (Qwen's) refuses fail, too: long strips, and sounds shorter than a window.
"""

import json
import sys
from pathlib import Path

import numpy as np
from transformers.models.qwen2_vl.image_processing_qwen2_vl import smart_resize
from vllm.multimodal.media.audio import AudioMediaIO
from vllm.multimodal.media.image import ImageMediaIO
from vllm.multimodal.media.video import VideoMediaIO

IMAGES = ImageMediaIO()
FILMS = [VideoMediaIO(IMAGES, video_backend=backend) for backend in ("opencv", "qwen2_vl")]
SOUNDS = AudioMediaIO()
WINDOW_S = 0.025  # window of the feature extractor of Whisper and Qwen, which refuses shorter sounds


def image(content):
    width, height = IMAGES.load_bytes(content).media.size
    smart_resize(height, width)
    return {"size": [width, height]}


def film(content):
    found = {}
    for reader in FILMS:
        frames, about = reader.load_bytes(content).media
        if not about["frames_indices"] or len(about["frames_indices"]) != len(frames):
            raise ValueError(f"{len(about['frames_indices'])} frames of {about['total_num_frames']}")
        smart_resize(*frames.shape[1:3])
        found = {"frames": len(frames), "of": about["total_num_frames"], "size": [frames.shape[2], frames.shape[1]]}
    return found


def sound(content):
    samples, rate = SOUNDS.load_bytes(content)
    if samples.size / rate < WINDOW_S:
        raise ValueError("it is too short to be represented inside the model")
    return {"samples": samples.size, "rate": rate, "rms": float(np.sqrt(np.mean(np.square(samples, dtype=np.float64))))}


READERS = {"image": image, "video": film, "audio": sound}
found = {}
for path in sorted(Path(sys.argv[1]).iterdir()):
    try:
        found[path.name] = READERS[path.name.split(".")[0]](path.read_bytes())
    except Exception as exc:  # noqa: BLE001  every error is a result
        found[path.name] = {"error": f"{type(exc).__name__}: {exc}"[:200]}
json.dump(found, sys.stdout)
