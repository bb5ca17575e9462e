"""What a run leaves: a folder with result.json, written anew after every document, and the reports made of it."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from engines.errors import ConfigError, ResultError
from engines.remedy import unwritable

RESULT = "result.json"


def claim(folder: Path) -> Path:
    """Makes the folder; raises ConfigError when it cannot be written, or holds a result that would be lost."""
    if (folder / RESULT).exists():
        raise ConfigError(f"{folder} holds a result: go on with --resume, or name another --result-dir")
    try:
        write(folder / RESULT, {})
        with _told(folder):
            (folder / RESULT).unlink()
    except ResultError as exc:
        raise ConfigError(f"--result-dir: {exc}") from exc
    return folder


def read(path: Path) -> dict[str, Any]:
    """The result in a folder, or in a file. Raises ConfigError that says what is wrong with it."""
    file = path / RESULT if path.is_dir() else path
    try:
        result = json.loads(file.read_text(encoding="utf-8"))
    except OSError as exc:
        raise ConfigError(f"{file} cannot be read ({exc.strerror}): name a folder that ./arena bench made") from exc
    except ValueError as exc:
        raise ConfigError(f"{file} is not JSON: {exc}") from exc
    if not isinstance(result, dict) or "kind" not in result:
        raise ConfigError(f"{file} is not a result of ./arena bench")
    return result


def write(path: Path, content: Mapping[str, Any]) -> None:
    """As `write_text`, in JSON."""
    write_text(path, as_text(content))


def as_text(content: Mapping[str, Any]) -> str:
    """JSON as it lies in a file."""
    return json.dumps(content, indent=1) + "\n"


def write_text(path: Path, text: str) -> None:
    """A reader sees the old file or the new one, never half of it. Raises ResultError when it cannot be written."""
    partial = path.with_name(f".{path.name}.partial")
    with _told(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with partial.open("w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)


@contextmanager
def _told(path: Path) -> Iterator[None]:
    """The one place where what the operating system refuses becomes an error of ours."""
    try:
        yield
    except OSError as exc:
        folder = path.parent if path.parent.is_dir() else path.parent.parent
        remedy = unwritable(folder, exc, "--result-dir")
        raise ResultError(f"{path} cannot be written ({exc.strerror}): {remedy}") from exc
