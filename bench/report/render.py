"""Makes the report files beside a result, from the result alone."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from bench.report.html_page import html_report
from bench.report.labels import KINDS
from bench.report.markdown import markdown_report
from bench.result import Result
from bench.result_io import to_json_text, write_text
from config.errors import ConfigError, ResultError

ARMS_FOLDER = "arms"  # folder for the files in the format of `vllm bench serve`


def render_reports(result: Result) -> Mapping[str, str]:
    """The reports, as file name to content. Raises ConfigError for a kind that is not supported."""
    if result.kind not in KINDS:
        raise ConfigError(f"the result is of kind {result.kind!r}: a report can be made of {', '.join(KINDS)}")
    return {"report.md": markdown_report(result), "report.html": html_report(result)}


def report_files(result: Result) -> Mapping[str, str]:
    """The reports, and each arm or cell in the format of `vllm bench serve`. Raises as `render_reports` does."""
    whole = result.model_dump(mode="json", exclude={"samples"})
    header = {name: value for name, value in whole.items() if not isinstance(value, dict | list)}
    parts = {**result.arms, **{cell.name: cell for cell in result.cells if cell.name}}
    arms = {
        f"{ARMS_FOLDER}/{_file_name(name)}.json": to_json_text({**header, **part.model_dump(mode="json")})
        for name, part in parts.items()
    }
    return {**render_reports(result), **arms}


def write_reports(files: Mapping[str, str], folder: Path) -> None:
    """Writes the files beside the result. Raises ResultError, also if a link leads out of the result's folder."""
    if (folder / ARMS_FOLDER).is_symlink():
        raise ResultError(f"{folder / ARMS_FOLDER} is a link: reports are written into no other folder, so remove it")
    for name, text in files.items():
        write_text(folder / name, text)


def _file_name(arm: str) -> str:
    """A safe file name for an arm, whose name in an untrusted result may contain anything."""
    return re.sub(r"[^\w.-]", "_", arm)[:100]
