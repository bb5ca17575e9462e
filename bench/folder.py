"""What a run leaves: a folder with result.json, written anew after every sample, and the reports made of it."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from engines.errors import ConfigError

RESULT = "result.json"


def claim(folder: Path) -> Path:
    """Makes the folder; raises ConfigError when it cannot be written, or holds a result that would be lost."""
    if (folder / RESULT).exists():
        raise ConfigError(f"{folder} holds a result: go on with --resume, or name another --result-dir")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write(folder / RESULT, {})
        (folder / RESULT).unlink()
    except OSError as exc:
        raise ConfigError(f"--result-dir {folder} cannot be written: {exc.strerror}") from exc
    return folder


def read(path: Path) -> dict[str, Any]:
    """The result in a folder, or in a file. Raises ConfigError that says what is wrong with it."""
    file = path / RESULT if path.is_dir() else path
    try:
        result = json.loads(file.read_text())
    except OSError as exc:
        raise ConfigError(f"{file} cannot be read: {exc.strerror}") from exc
    except ValueError as exc:
        raise ConfigError(f"{file} is not JSON: {exc}") from exc
    if not isinstance(result, dict) or "kind" not in result:
        raise ConfigError(f"{file} is not a result of ./arena bench")
    return result


def write(path: Path, content: Mapping[str, Any]) -> None:
    """A reader sees the old file or the new one, never half of it."""
    write_text(path, json.dumps(content, indent=1) + "\n")


def write_text(path: Path, text: str) -> None:
    """The same for any text."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    with partial.open("w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)
