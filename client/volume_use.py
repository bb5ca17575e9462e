"""How full the KV volume is, as its keeper (`cache/keeper.py`) reports it in a file there for everyone who shows it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from pydantic import BaseModel, ConfigDict, Field, ValidationError

GIB = 2**30
STALE_S = 600.0  # age of a report after which no keeper seems to run
LARGEST = 2**63
REPORT_BYTES = 4096  # more than a report has
REPORT = ".volume-use.json"
DISK_FULL = "nothing is kept, because other files fill the disk: make room on it"


class DiskSpace(Protocol):
    """Bytes of a disk, as from shutil.disk_usage."""

    @property
    def total(self) -> int: ...
    @property
    def free(self) -> int: ...


FreeSpace = Callable[[Path], DiskSpace]


class VolumeUse(BaseModel):
    """What the keeper found last, as it writes it to the volume for everyone who shows it. Sizes are in bytes.

    Whoever can write to the volume can change it: it is for display only.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    files: int = Field(ge=0, le=LARGEST)
    total_bytes: int = Field(ge=0, le=LARGEST)
    max_bytes: int = Field(ge=0, le=LARGEST)
    min_free_bytes: int = Field(ge=0, le=LARGEST)
    checked_s: float = Field(allow_inf_nan=False)  # seconds since 1970
    free_bytes: int = 0  # when the report was read: on a full disk, none could be written

    @classmethod
    def read(cls, volume: Path, *, free_space: FreeSpace = shutil.disk_usage) -> VolumeUse | None:
        """Returns None if there is no report, or if it cannot be read."""
        try:
            with (volume / REPORT).open("rb") as file:
                use = cls.model_validate_json(file.read(REPORT_BYTES))
            return use.model_copy(update={"free_bytes": free_space(volume).free})
        except (OSError, ValidationError):
            return None

    @property
    def is_disk_full(self) -> bool:
        """Whether the disk has too little free space although no KV is stored; new KV is then deleted at once."""
        return self.free_bytes < self.min_free_bytes and not self.total_bytes


def describe_use(use: VolumeUse | None, now: float) -> str:
    """Describes a report at the time `now`, with what is wrong and what to do about it."""
    if use is None:
        return "its size is not known yet"
    used, limit, free = (size / GIB for size in (use.total_bytes, use.max_bytes, use.free_bytes))
    fact = f"{used:.1f} of at most {limit:.1f} GiB in {use.files:,} files; {free:.1f} GiB are free on its disk"
    if now - use.checked_s > STALE_S:
        minutes = (now - use.checked_s) / 60
        return f"{fact}; that was {minutes:.0f} minutes ago, and ./arena logs keeper says why there is no newer report"
    return f"{fact}; {DISK_FULL}" if use.is_disk_full else fact
