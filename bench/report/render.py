"""The files that lie beside a result, made from nothing but the result."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from bench.report.html_page import html_report
from bench.report.labels import KINDS
from bench.report.markdown import markdown_report
from bench.result import SCHEMA, Result
from bench.result_io import to_json_text, write_text
from config.errors import ConfigError, ResultError

ARMS_FOLDER = "arms"  # the folder of the files that read like those of vLLM


def render_reports(result: Result) -> Mapping[str, str]:
    """File name to content. Raises ConfigError for a result that this version does not know."""
    if result.kind not in KINDS:
        raise ConfigError(f"the result is of kind {result.kind!r}: a report can be made of {', '.join(KINDS)}")
    if result.schema_version != SCHEMA:
        raise ConfigError(
            f"the result has schema {result.schema_version!r}, this version reads {SCHEMA}: "
            "use the version that wrote it"
        )
    return {"report.md": markdown_report(result), "report.html": html_report(result)}


def report_files(result: Result) -> Mapping[str, str]:
    """The reports, and each arm or cell as a file that reads like one of `vllm bench serve`. Raises as above."""
    whole = result.model_dump(mode="json", exclude={"samples"})
    header = {name: value for name, value in whole.items() if not isinstance(value, dict | list)}
    parts = {**result.arms, **{cell.name: cell for cell in result.cells if cell.name}}
    arms = {
        f"{ARMS_FOLDER}/{_file_name(name)}.json": to_json_text({**header, **part.model_dump(mode="json")})
        for name, part in parts.items()
    }
    return {**render_reports(result), **arms}


def write_reports(files: Mapping[str, str], folder: Path) -> None:
    """Writes them beside the result. Raises ResultError, also where that leads out of the result's folder."""
    if (folder / ARMS_FOLDER).is_symlink():
        raise ResultError(f"{folder / ARMS_FOLDER} is a link: reports are written into no other folder, so remove it")
    for name, text in files.items():
        write_text(folder / name, text)


def _file_name(arm: str) -> str:
    """Nothing but a name in the folder, whatever a foreign result calls an arm."""
    return re.sub(r"[^\w.-]", "_", arm)[:100]
