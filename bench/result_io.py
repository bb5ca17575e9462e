"""What a run leaves: a folder with result.json, written anew after every document, and the reports made of it."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench.result import Result
from config.errors import ConfigError, ResultError
from config.write_hints import unwritable_hint

RESULT = "result.json"
MAX_DEPTH = 32  # objects and lists in each other
MAX_BYTES = 2**30
MAX_NUMBER = 1e100  # squares and quotients of such numbers are finite


def create_folder(folder: Path) -> Path:
    """Makes the folder; raises ConfigError when it cannot be written, or holds a result that would be lost."""
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
    """The result in a folder or a file, which may come from anybody. Raises ConfigError as `read_json` does."""
    return Result.model_validate(read_json(path))


def read_json(path: Path) -> dict[str, Any]:
    """The same as it lies there. Raises ConfigError for what is no result of `./arena bench`.

    All its numbers are finite, all text can be written as UTF-8, and nothing is nested so deeply that a reader runs out
    of stack; apart from `kind`, any field may be missing or of another type.
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
    return result


def _text(file: Path) -> str:
    """Raises OSError, also for what is no file: reading a pipe would wait, and a device never ends."""
    if not file.exists():
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
    if not file.is_file():
        raise OSError(errno.EINVAL, "it is not a file")
    if file.stat().st_size > MAX_BYTES:
        raise OSError(errno.EFBIG, os.strerror(errno.EFBIG))
    return file.read_text(encoding="utf-8")


def _cleaned(value: Any, depth: int) -> Any:
    """JSON as a reader may rely on it; a number that no float can hold is None. Raises RecursionError below `depth`."""
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
    """As `write_text`, in JSON."""
    write_text(path, to_json_text(content))


def to_json_text(content: Result | Mapping[str, Any]) -> str:
    """JSON as it lies in a file."""
    plain = content.model_dump(mode="json") if isinstance(content, Result) else content
    return json.dumps(plain, indent=1) + "\n"


def write_text(path: Path, text: str) -> None:
    """A reader gets the old file or the new one, never half of it. Raises ResultError when it cannot be written."""
    partial = path.with_name(f".{path.name}.partial")
    with _result_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            partial.unlink(missing_ok=True)
            with partial.open("x", encoding="utf-8") as file:  # "x" follows no link that somebody put there
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)


@contextmanager
def _result_errors(path: Path) -> Iterator[None]:
    """Turns what the operating system refuses into a ResultError that says what to do."""
    try:
        yield
    except OSError as exc:
        folder = path.parent if path.parent.is_dir() else path.parent.parent
        hint = unwritable_hint(folder, exc, "--result-dir")
        raise ResultError(f"{path} cannot be written ({exc.strerror}): {hint}") from exc
