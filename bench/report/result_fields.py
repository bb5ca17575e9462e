"""Reads a result in which any number may be missing: JSON of an older run, of half a run, or of an arm that failed."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

Fields = Mapping[str, Any]


def fields(mapping: Fields, *path: str) -> Fields:
    """The object at the end of `path`; an empty one where there is none."""
    for name in path:
        inner = mapping.get(name)
        mapping = inner if isinstance(inner, Mapping) else {}
    return mapping


def rows(mapping: Fields, name: str) -> Sequence[Fields]:
    """The objects of a list; none where there is no list."""
    found = mapping.get(name)
    return [row for row in found if isinstance(row, Mapping)] if isinstance(found, list) else []


def texts(mapping: Fields, name: str) -> list[str]:
    """The texts of a list."""
    found = mapping.get(name)
    return [text for text in found if isinstance(text, str)] if isinstance(found, list) else []


def number(mapping: Fields, name: str) -> float | None:
    """A number that can be shown; None for null, NaN and anything else."""
    value = mapping.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or math.isnan(value):
        return None
    return value


def numbers(mapping: Fields, name: str) -> list[float]:
    """The finite numbers of a list."""
    found = mapping.get(name)
    return [value for value in found if is_finite(value)] if isinstance(found, list) else []


def is_finite(value: object) -> bool:
    """A number that has a place on an axis."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def arms(result: Fields) -> Iterator[tuple[str, Fields]]:
    """Name and fields of each arm, in the order of the result."""
    for name in fields(result, "arms"):
        yield name, fields(result, "arms", name)


def base(arm: str) -> str:
    """An arm's name without the modality that stands before it where media are sent."""
    modality, _, rest = arm.partition("_")
    return rest if modality in ("image", "images", "video", "audio") else arm


def counted(result: Fields) -> Sequence[Fields]:
    """The samples that prove what their arm demands."""
    return [row for row in rows(result, "samples") if row.get("valid")]


def not_counted(result: Fields) -> Sequence[Fields]:
    """The samples that failed or do not prove it."""
    return [row for row in rows(result, "samples") if not row.get("valid")]
