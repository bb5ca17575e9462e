"""Images, videos and sounds for prompts.

`part` defines what a request contains; `load` makes it from a file or an address. Only `part` is imported here, so that
commands without media do not wait for the import of PyAV.
"""

from pathlib import Path

from media.part import Form, Media, Modality

SAMPLES = Path(__file__).parent / "samples"

__all__ = ["SAMPLES", "Form", "Media", "Modality"]
