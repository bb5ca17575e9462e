"""Reads and writes a run's folder: result.json, rewritten after every document, and the reports made from it."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench.result import SCHEMA, Result
from config.errors import ConfigError, ResultError
from config.write_hints import unwritable_hint

RESULT = "result.json"
MAX_DEPTH = 32  # of nested objects and lists
MAX_BYTES = 2**30
MAX_NUMBER = 1e100  # squares and quotients of such numbers are finite


def create_folder(folder: Path) -> Path:
    """Creates the folder. Raises ConfigError if it cannot be written, or contains a result that would be lost."""
    if (folder / RESULT).exists():
        raise ConfigError(f"{folder} holds a result: go on with --resume, or name another --result-dir")
    try:
        write_result(folder / RESULT, {})
        with _result_errors(folder):
            (folder / RESULT).unlink()
    except ResultError as exc:
        raise ConfigError(f"--result-dir: {exc}") from exc
    return folder


def read_result(path: Path) -> Result:
    """Reads the result in a folder or file, which is untrusted input. Raises ConfigError as `read_json` does."""
    return Result.model_validate(read_json(path))


def read_json(path: Path) -> dict[str, Any]:
    """Reads a result as plain JSON. Raises ConfigError if it is no result of `./arena bench`, or one of another SCHEMA.

    In what it returns, all numbers are finite, all text can be encoded as UTF-8, and the nesting is limited so that no
    reader overflows its stack. Apart from `kind`, any field may be missing or have a wrong type.
    """
    file = path / RESULT if path.is_dir() else path
    try:
        result = _cleaned(json.loads(_text(file)), MAX_DEPTH)
    except OSError as exc:
        raise ConfigError(f"{file} cannot be read ({exc.strerror}): name a folder that ./arena bench made") from exc
    except ValueError as exc:
        raise ConfigError(f"{file} is not JSON: {exc}") from exc
    except RecursionError as exc:
        raise ConfigError(f"{file} is not a result of ./arena bench: it is nested too deeply") from exc
    if not isinstance(result, dict) or not isinstance(result.get("kind"), str):
        raise ConfigError(f"{file} is not a result of ./arena bench")
    if (schema := result.get("schema", SCHEMA)) != SCHEMA:
        raise ConfigError(f"{file} has schema {schema!r}, this version reads {SCHEMA}: use the version that wrote it")
    return result


def _text(file: Path) -> str:
    """The file's text. Raises OSError, also for a pipe, which might block, and for a device, which might never end."""
    if not file.exists():
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
    if not file.is_file():
        raise OSError(errno.EINVAL, "it is not a file")
    if file.stat().st_size > MAX_BYTES:
        raise OSError(errno.EFBIG, os.strerror(errno.EFBIG))
    return file.read_text(encoding="utf-8")


def _cleaned(value: Any, depth: int) -> Any:
    """Valid JSON: a number beyond MAX_NUMBER becomes None. Raises RecursionError if `depth` is exceeded."""
    if depth < 0:
        raise RecursionError
    if isinstance(value, dict):
        return {_cleaned(name, depth): _cleaned(inner, depth - 1) for name, inner in value.items()}
    if isinstance(value, list):
        return [_cleaned(inner, depth - 1) for inner in value]
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, int | float) and not abs(value) <= MAX_NUMBER:  # a comparison with NaN is false
        return None
    return value


def write_result(path: Path, content: Result | Mapping[str, Any]) -> None:
    """Writes the content as JSON. Raises ResultError as `write_text` does."""
    write_text(path, to_json_text(content))


def to_json_text(content: Result | Mapping[str, Any]) -> str:
    """The content as the JSON text of a result file."""
    plain = content.model_dump(mode="json") if isinstance(content, Result) else content
    return json.dumps(plain, indent=1) + "\n"


def write_text(path: Path, text: str) -> None:
    """Replaces the file atomically, so no reader sees a partial one. Raises ResultError if it cannot be written."""
    partial = path.with_name(f".{path.name}.partial")
    with _result_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            partial.unlink(missing_ok=True)
            with partial.open("x", encoding="utf-8") as file:  # "x" does not follow a link planted there
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)


@contextmanager
def _result_errors(path: Path) -> Iterator[None]:
    """Turns an OSError into a ResultError with a hint on what to do."""
    try:
        yield
    except OSError as exc:
        folder = path.parent if path.parent.is_dir() else path.parent.parent
        hint = unwritable_hint(folder, exc, "--result-dir")
        raise ResultError(f"{path} cannot be written ({exc.strerror}): {hint}") from exc
