"""The folder that `./arena test --gpu` leaves: the record of each step, its summary, and a search for secrets."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from enum import StrEnum
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ValidationError

from bench.report.conclusion import conclusion
from bench.report.markdown import escape, markdown_table
from bench.report.number_format import count, duration, ratio, span_of
from bench.report.text_table import ReportTable, number, words
from bench.result import Result
from bench.result_io import read_result, write_result, write_text
from bench.result_part import ArmSummary
from config.errors import ConfigError
from config.paths import arena_home
from config.service_environment import LOGIN_IN_ADDRESS, is_secret
from config.settings import COMPOSE_ONLY_NAMES, SETTING_NAMES
from launch.compose import compose_path
from launch.docker_checks import GPU_DEFAULTS, Gpu

RECORD, SUMMARY = "summary.json", "summary.md"
SECRET_FILES = ("HF_TOKEN_FILE", "UI_PASSWORD_FILE")  # settings that name a file with a secret
SECRET_BYTES = 6  # a shorter one cannot be told from ordinary text, such as the value of TOKENIZERS_PARALLELISM
SUMMARY_ARMS = {"cold": "cold", "other engine": "other_instance", "cross-read": "cross_read"}


class Outcome(StrEnum):
    """How a step ended."""

    DONE = "done"
    HOLDS = "holds"  # the claim of a benchmark
    NO_CLAIM = "does not hold"  # a complete result, too
    FAILED = "failed"
    INTERRUPTED = "interrupted"
    NOT_RUN = "not run"


class StepRecord(BaseModel):
    """One step; if it was run more than once, the last time."""

    outcome: Outcome
    command: str = ""
    exit_code: int | None = None
    started: str = ""  # ISO 8601
    seconds: float = 0
    note: str = ""


class GpuTestRecord(BaseModel):
    """The content of summary.json, which is replaced after each step."""

    kind: Literal["gpu-test"] = "gpu-test"
    cpu: bool  # a rehearsal
    chosen: tuple[str, ...]  # names of the benchmarks
    cards: str = ""
    steps: dict[str, StepRecord] = {}
    secrets: tuple[str, ...] = ()  # which file has which secret

    @property
    def passed(self) -> bool:
        """Whether each step was done or holds, or cannot be run in a rehearsal; and no file has a secret."""
        failed = (Outcome.FAILED, Outcome.NO_CLAIM, Outcome.INTERRUPTED)
        return not self.secrets and not any(step.outcome in failed for step in self.steps.values())

    def save(self, folder: Path) -> None:
        """Replaces summary.json. Raises ResultError if it cannot be written."""
        write_result(folder / RECORD, self.model_dump(mode="json"))


def read_record(folder: Path) -> GpuTestRecord:
    """Reads what an earlier run has recorded. Raises ConfigError if there is nothing of ours."""
    try:
        return GpuTestRecord.model_validate_json((folder / RECORD).read_bytes())
    except (OSError, ValidationError) as exc:
        raise ConfigError(
            f"{folder} was not made by ./arena test --gpu: name the folder of a run after --resume"
        ) from exc


def complete_result(folder: Path) -> Result | None:
    """Returns the result in a benchmark's folder, or None if it is missing, interrupted or damaged."""
    with suppress(ConfigError):
        if (result := read_result(folder)).complete:
            return result
    return None


def cards_in_use(env: Mapping[str, str], found: Sequence[Gpu]) -> str:
    """Returns the GPUs that the engines use, such as `2 × NVIDIA L4`; empty if there are none."""
    named = {env.get(variable) or default for variable, default in GPU_DEFAULTS.items()}
    names = Counter(gpu.name for gpu in found if named & {gpu.index, gpu.uuid})
    return ", ".join(f"{number} × {name}" for name, number in names.items())


def shown_settings(given: Mapping[str, str]) -> str:
    """Returns a line for each variable that is set. Possible secrets, and what is no setting, have no value there."""
    public = {name for name in (*SETTING_NAMES, *COMPOSE_ONLY_NAMES) if not is_secret(name)}
    shown = {
        name: value if name in public and not LOGIN_IN_ADDRESS.search(value) else "(set)"
        for name, value in sorted(given.items())
        if value
    }
    return "".join(f"{name}={value}\n" for name, value in shown.items())


def known_secrets(given: Mapping[str, str]) -> Mapping[str, bytes]:
    """Returns secrets by the variable or file that has them."""
    named = {name: value for name, value in given.items() if is_secret(name) and not name.endswith(("_FILE", "_DIR"))}
    found = {name: value.encode(errors="surrogateescape") for name, value in named.items()}
    files = [compose_path(given, name) for name in SECRET_FILES]
    files += [
        compose_path(given, "KV_KEY_DIR") / "kv.key",
        Path(given.get("KV_KEY_FILE") or arena_home(given) / "kv.key"),
    ]
    for file in files:
        with suppress(OSError):
            if file.is_file():
                found[str(file)] = file.read_bytes().strip()
    return {name: value for name, value in found.items() if len(value) >= SECRET_BYTES}


def files_with_secrets(folder: Path, secrets: Mapping[str, bytes]) -> Iterator[str]:
    """Yields a sentence for each file of the folder that contains a secret, or that cannot be read."""
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder)
        try:
            content = path.read_bytes() if path.is_file() else b""
        except OSError as exc:
            yield f"{name} cannot be read ({exc.strerror})"
            continue
        yield from (f"{name} contains {secret}" for secret, value in secrets.items() if value in content)


def write_summary(folder: Path, record: GpuTestRecord) -> None:
    """Writes summary.md. Raises ResultError if it cannot be written."""
    write_text(folder / SUMMARY, "\n\n".join(_paragraphs(folder, record)) + "\n")


def summary_table(result: Result, hardware: str) -> str:
    """Returns a table of one row: the hardware, the model, three medians and the speed-up."""
    times = [result.arms.get(arm, ArmSummary()).median_ttft_ms for arm in SUMMARY_ARMS.values()]
    speedup = result.comparison.speedup
    columns = [words("hardware"), words("model"), *map(number, ("tokens", *SUMMARY_ARMS, "speed-up"))]
    row = [hardware, result.model_id, count(result.input_len), *map(duration, times)]
    return markdown_table(
        ReportTable("", columns, [[*row, f"{ratio(speedup.median)} ({span_of(speedup)})"]]),
    )


def _paragraphs(folder: Path, record: GpuTestRecord) -> Iterator[str]:
    results = {name: result for name in record.chosen if (result := complete_result(folder / name))}
    yield "# ./arena test --gpu"
    if record.cpu:
        yield "**This was a rehearsal on the CPU images: no card was used.**"
    else:
        yield f"Cards: {escape(record.cards) or 'none found'}."
    columns = [words("step"), words("outcome"), number("exit code"), number("seconds"), words("note")]
    rows = [
        [name, step.outcome, "" if step.exit_code is None else str(step.exit_code), count(step.seconds), step.note]
        for name, step in record.steps.items()
    ]
    yield markdown_table(ReportTable("", columns, rows))
    yield "## Results"
    conclusions = [f"- [{name}]({name}/report.md): {escape(conclusion(result))}" for name, result in results.items()]
    yield "\n".join(conclusions) or "None: no benchmark has ended."
    if "ttft" in results:
        yield "## In one row"
        host = results["ttft"].host
        rehearsed_on = f"no card: {host.get('cpus')} cores of {host.get('cpu')}"
        yield summary_table(results["ttft"], rehearsed_on if record.cpu else record.cards)
    yield "## Before you send this folder"
    leaks = [f"- {escape(each)}: remove it there" for each in record.secrets]
    yield "\n".join(leaks) or "The known tokens, passwords and keys of this machine are in none of its files."
