"""Images, videos and sounds for prompts: `part` is what a request carries, `load` makes it of a file or an address.

Only `part` is imported here, so that commands which load no media do not wait for PyAV.
"""

from pathlib import Path

from media.part import Form, Media, Modality

SAMPLES = Path(__file__).parent / "samples"

__all__ = ["SAMPLES", "Form", "Media", "Modality"]
