"""An image, video or sound as a part of a prompt."""

from __future__ import annotations

from base64 import b64decode, b64encode
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class Modality(StrEnum):
    """The kinds of media, with vLLM's names."""

    IMAGE = "image"
    VIDEO = "video"
    AUDIO = "audio"


class Form(StrEnum):
    """How a request contains media: as an address that the engine fetches, or as the bytes themselves."""

    URL = "url"
    DATA_URL = "data-url"
    INPUT_AUDIO = "input-audio"


@dataclass(frozen=True, slots=True)
class Media:
    """One file, checked and encoded before any TTFT is measured. `url` is set if the engine may fetch the file."""

    modality: Modality
    name: str  # of the file, for display
    mime: str
    base64: str = field(repr=False)
    size: int  # bytes of the file
    url: str = ""
    form: Form = Form.DATA_URL
    extent: str = ""  # pixels, frames or seconds, for display

    @classmethod
    def of(cls, modality: Modality, name: str, mime: str, content: bytes, *, url: str = "", extent: str = "") -> Media:
        """Encodes `content` as base64."""
        return cls(modality, name, mime, b64encode(content).decode(), len(content), url, extent=extent)

    @property
    def content(self) -> bytes:
        """The file's bytes."""
        return b64decode(self.base64)

    @property
    def part(self) -> dict[str, Any]:
        """The content part of a message in the OpenAI API, which vLLM extends by video."""
        if self.form is Form.INPUT_AUDIO:
            suffix = self.mime.split("/")[-1].replace("mpeg", "mp3")
            return {"type": "input_audio", "input_audio": {"data": self.base64, "format": suffix}}
        url = self.url if self.form is Form.URL else f"data:{self.mime};base64,{self.base64}"
        return {"type": f"{self.modality}_url", f"{self.modality}_url": {"url": url}}
