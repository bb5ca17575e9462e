"""`./arena test --gpu`: starts the containers, runs the benchmarks, and leaves a folder to send to the maintainers."""

from __future__ import annotations

import os
import shlex
import shutil
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from bench.result_io import RESULT, write_text
from config.env_file import read_env_file
from config.errors import ArenaError, ConfigError, StackError
from config.exit_codes import run_app
from config.paths import ROOT, arena_home, nearest_existing, results_folder, run_folder
from config.run_state import containers_file, supervisord_pid
from config.settings import COMPOSE_ONLY_NAMES, IN_PROCESS, SETTING_NAMES, Settings
from launch.check_result import GIB
from launch.compose import Composition
from launch.docker_checks import RunTool, containers_exist, list_gpus, run_tool
from launch.gpu_folder import (
    RECORD,
    SUMMARY,
    GpuTestRecord,
    Outcome,
    StepRecord,
    cards_in_use,
    complete_result,
    files_with_secrets,
    known_secrets,
    read_record,
    shown_settings,
    write_summary,
)
from launch.logged_run import INTERRUPTED, RunStep, run_logged, tell
from launch.signals import interrupt_once
from launch.stack import expected_services

CONNECTORS = ("lmcache-mp", *IN_PROCESS)  # values of KV_CONNECTOR; the first is the default
ROOM_GIB = 1  # for results and logs
ALL_VERSIONS = (
    "import importlib.metadata as m; print(*sorted(f'{d.name}=={d.version}' for d in m.distributions()), sep='\\n')"
)
MACHINE: Mapping[str, Sequence[str]] = {  # facts, and the commands that print them
    "nvidia-smi.csv": ("nvidia-smi", "--query-gpu=index,name,memory.total,driver_version", "--format=csv"),
    "docker.txt": ("docker", "version"),
    "compose.txt": ("docker", "compose", "version"),
    "commit.txt": ("git", "-C", str(ROOT), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"),
}

app = typer.Typer(add_completion=False)


@dataclass(frozen=True, slots=True)
class Measurement:
    """A benchmark: its options on cards, and smaller ones for a rehearsal, None if it needs a card."""

    kind: str
    on_cards: str
    on_cpu: str | None
    connector: str = CONNECTORS[0]


SHORT = "--input-len 1936"  # whole chunks of 256 tokens, or of 64, and a question
MEASUREMENTS: Mapping[str, Measurement] = {
    "ttft": Measurement("ttft", "--num-prompts 24", "--num-prompts 6"),
    "verify": Measurement("verify", "--num-prompts 20", f"--num-prompts 4 {SHORT}"),
    "mm": Measurement("mm", "--num-prompts 8", "--num-prompts 5"),
    "decode": Measurement("decode", "--num-prompts 16", f"--num-prompts 5 {SHORT}"),
    "storage": Measurement("storage", "--num-prompts 5", "--num-prompts 1"),
    "ttft-lmcache": Measurement("ttft", "--num-prompts 12", None, "lmcache"),
    "ttft-offloading": Measurement("ttft", "--num-prompts 12", None, "offloading"),
}


@dataclass(slots=True)
class GpuTest:
    """One run, whose steps are commands of `arena`; everything that it leaves is in `folder`."""

    folder: Path
    record: GpuTestRecord
    run: RunStep
    settings: Mapping[str, str]  # those that are set, and unknown ones of .env
    given: Mapping[str, str]  # all variables, to find secrets in
    arena: str = str(ROOT / "arena")

    def go(self) -> None:
        """Runs the steps that have not ended yet. Raises StackError if the stack cannot start on this machine."""
        pending = [name for name in self.record.chosen if self._is_pending(name)]
        if not pending:
            return
        if self._step("doctor", "doctor", *self._form) is not Outcome.DONE:
            rehearse = "" if self.record.cpu else "; ./arena test --gpu --cpu rehearses it without cards"
            raise StackError(f"the containers cannot start here: do what ./arena doctor says above{rehearse}")
        self._describe_machine()
        for connector in CONNECTORS:
            if names := [name for name in pending if MEASUREMENTS[name].connector == connector]:
                self._measure_with(connector, names)

    def close(self) -> None:
        """Looks for secrets in the files, and writes the summary."""
        self.record.secrets = tuple(files_with_secrets(self.folder, known_secrets(self.given)))
        self.record.save(self.folder)
        write_summary(self.folder, self.record)

    @property
    def _form(self) -> tuple[str, ...]:
        return ("--docker", "--cpu") if self.record.cpu else ("--docker",)

    def _is_pending(self, name: str) -> bool:
        if self.record.cpu and MEASUREMENTS[name].on_cpu is None:
            self._note(name, StepRecord(outcome=Outcome.NOT_RUN, note="it needs a GPU"))
            return False
        step = self.record.steps.get(name)
        ended = step is not None and step.outcome in (Outcome.HOLDS, Outcome.NO_CLAIM, Outcome.NOT_RUN)
        return not ended or complete_result(self.folder / name) is None

    def _describe_machine(self) -> None:
        write_text(self.folder / "machine" / "settings.txt", shown_settings(self.settings))
        for name, command in MACHINE.items():
            self._fact(f"machine/{name}", ["timeout", "60", *command])
        self._fact("machine/doctor.json", [self.arena, "doctor", *self._form, "--json"])

    def _measure_with(self, connector: str, names: Sequence[str]) -> None:
        """Starts the stack with a connector, runs the benchmarks, keeps the logs, and stops the stack in any case."""
        suffix = "" if connector == CONNECTORS[0] else f"-{connector}"
        env, services = {"KV_CONNECTOR": connector}, f"services/{connector}"
        if connector in IN_PROCESS:
            env["KV_SERDE"] = "none"  # they authenticate nothing
        try:
            is_up = self._step(f"up{suffix}", "up", *self._form, "--detach", env=env) is Outcome.DONE
            self._fact(f"{services}/status.json", [self.arena, "status", "--json"], env)
            composition = Composition(self.record.cpu)
            python = composition.command("run", "--rm", "--no-deps", "--no-TTY", "--entrypoint", "python", "model")
            versions = ["timeout", "120", *python, "-c", ALL_VERSIONS]  # Compose would build an image that is missing
            self._fact(f"{services}/versions.txt", versions, composition.environment() | env)
            for name in names:
                if is_up:
                    self._bench(name, env)
                else:
                    self._note(name, StepRecord(outcome=Outcome.NOT_RUN, note=f"up{suffix} failed"))
            expected = (service.name for service, _ in expected_services(Settings.from_env(env)))
            for service in ("model", "preheat", *expected):
                self._fact(f"{services}/{service}.log", [self.arena, "logs", service], env)
        finally:
            self._step(f"down{suffix}", "down", env=env)

    def _bench(self, name: str, env: Mapping[str, str]) -> None:
        measurement = MEASUREMENTS[name]
        options = measurement.on_cpu if self.record.cpu else measurement.on_cards
        if complete_result(self.folder / name):  # it was interrupted after its result, so its exit code is not known
            shutil.rmtree(self.folder / name)
        resume = ["--resume"] if (self.folder / name / RESULT).exists() else []
        words = (*(options or "").split(), "--result-dir", name, *resume)  # steps are run in the folder
        self._step(name, "bench", measurement.kind, *words, env=env)
        result = complete_result(self.folder / name)
        if result and result.refused and not result.modalities:
            told = {"outcome": Outcome.NOT_RUN, "note": "the model takes no media: MODEL chooses one that does"}
            self._note(name, self.record.steps[name].model_copy(update=told))

    def _step(self, name: str, *words: str, env: Mapping[str, str] | None = None) -> Outcome:
        """Runs a command of `arena`, and records how it ended. Raises KeyboardInterrupt if it was interrupted."""
        command = shlex.join(["./arena", *words])
        tell(f"\n=== {name}: {command}")
        started, began = datetime.now(UTC).isoformat(timespec="seconds"), time.monotonic()
        code = self.run([self.arena, *words], self.folder / f"{name}.log", env or {}, True)
        outcome = self._outcome(name, code)
        seconds = round(time.monotonic() - began, 1)
        self._note(name, StepRecord(outcome=outcome, command=command, exit_code=code, started=started, seconds=seconds))
        tell(f"=== {name}: {outcome} (exit code {code}, {seconds:.0f} s)")
        if outcome is Outcome.INTERRUPTED:
            raise KeyboardInterrupt
        return outcome

    def _outcome(self, name: str, code: int) -> Outcome:
        if code == INTERRUPTED:
            return Outcome.INTERRUPTED
        if name not in MEASUREMENTS:
            return Outcome.FAILED if code else Outcome.DONE
        if complete_result(self.folder / name) is None:
            return Outcome.FAILED
        return {0: Outcome.HOLDS, 1: Outcome.NO_CLAIM}.get(code, Outcome.FAILED)

    def _fact(self, file: str, command: Sequence[str], env: Mapping[str, str] | None = None) -> None:
        """Keeps what a command prints, whatever its exit code."""
        if self.run(command, self.folder / file, env or {}, False) == INTERRUPTED:
            raise KeyboardInterrupt

    def _note(self, name: str, step: StepRecord) -> None:
        self.record.steps[name] = step
        self.record.save(self.folder)


def new_record(folder: Path, *, cpu: bool, steps: str) -> GpuTestRecord:
    """Returns the record of a run that begins now. Raises ConfigError for an unknown step or an unsuitable folder."""
    chosen = [name for name in steps.replace(" ", "").split(",") if name]
    if not chosen or (unknown := [name for name in chosen if name not in MEASUREMENTS]):
        raise ConfigError(f"--steps {unknown[0] if chosen else steps!r}: choose from {','.join(MEASUREMENTS)}")
    if folder.exists():
        hint = f"--resume {folder} goes on with it" if (folder / RECORD).exists() else "name a new --result-dir"
        raise ConfigError(f"{folder} exists already: {hint}")
    if ":" in str(folder):
        raise ConfigError(f"{folder} has a colon in its name, and cannot be shown to a container: name another one")
    if (free := shutil.disk_usage(nearest_existing(folder)).free / GIB) < ROOM_GIB:
        raise ConfigError(f"{free:.1f} GiB free for {folder}, {ROOM_GIB} needed: make room, or name a --result-dir")
    return GpuTestRecord(cpu=cpu, chosen=tuple(name for name in MEASUREMENTS if name in chosen))


def resumed_record(folder: Path, *, cpu: bool) -> GpuTestRecord:
    """Returns the record of an earlier run. Raises ConfigError if it was no rehearsal and this is to be one."""
    record = read_record(folder)
    if cpu and not record.cpu:
        raise ConfigError(f"{folder} is no rehearsal: go on with it without --cpu")
    return record


def refuse_running_stack(home: Path, env: Mapping[str, str], run: RunTool = run_tool) -> None:
    """Raises StackError if a stack runs, because this test starts and stops one of its own."""
    found = bool(supervisord_pid(home)) or containers_file(home).exists()
    with suppress(StackError):  # without Docker there are no containers
        found = found or containers_exist(env, run)
    if found:
        raise StackError(
            "a stack exists already, and this test starts and stops its own: end it with ./arena down, or with docker "
            "compose down if Docker alone started it"
        )


@app.command()
def main(
    cpu: Annotated[bool, typer.Option("--cpu", help="A rehearsal on the CPU images: no card is used.")] = False,
    steps: Annotated[str | None, typer.Option(help=f"All by default, or some of {', '.join(MEASUREMENTS)}.")] = None,
    result_dir: Annotated[Path | None, typer.Option(help="A new folder.", show_default="results/gpu-test-…")] = None,
    resume: Annotated[Path | None, typer.Option(help="Go on with an earlier run's folder, as it began.")] = None,
) -> None:
    """Try everything on GPUs, and leave one folder that can be sent to the maintainers.

    It runs doctor, up --docker, the benchmarks, up with each other KV_CONNECTOR and bench ttft, and down. A step that
    fails does not hide the following ones. Exit codes: 0 if everything was done and holds, 1 if not, 2 for wrong usage,
    130 after Ctrl+C.
    """
    interrupt_once()
    filed = read_env_file(ROOT / ".env", os.environ).values
    given = {**filed, **os.environ}
    env = Composition(cpu).environment()  # raises ConfigError for invalid settings
    if resume and (steps or result_dir):
        raise ConfigError("--resume goes on with the folder as it began: leave out --steps and --result-dir")
    wanted = resume or result_dir or run_folder(results_folder(), "gpu-test")
    try:
        folder = wanted.expanduser().resolve()
        record = (
            resumed_record(folder, cpu=cpu)
            if resume
            else new_record(folder, cpu=cpu, steps=steps or ",".join(MEASUREMENTS))
        )
    except (OSError, RuntimeError, ValueError) as exc:
        raise ConfigError(f"{wanted} cannot be used ({exc}): name another folder") from exc
    refuse_running_stack(arena_home(os.environ), env)
    record.cards = "" if record.cpu else cards_in_use(given, list_gpus(run_tool))
    record.save(folder)
    settings = {name: given.get(name, "") for name in (*SETTING_NAMES, *COMPOSE_ONLY_NAMES, *filed)}
    run = partial(run_logged, cwd=folder, secrets=known_secrets(given).values())
    finish(GpuTest(folder, record, run, settings, given))


def finish(test: GpuTest) -> None:
    """Runs the test and says where its results are and how to go on. The exit code is 1 if something failed."""
    tell(f"results go to {test.folder}")
    go_on = f"go on with: ./arena test --gpu --resume {shlex.quote(str(test.folder))}"
    try:
        test.go()
    except (KeyboardInterrupt, ArenaError):
        tell(go_on)
        raise
    finally:
        test.close()
        tell(f"kept in {test.folder}; {SUMMARY} says how each step ended")
    for leak in test.record.secrets:
        tell(f"{leak}: remove it there before you send the folder")
    raise typer.Exit(0 if test.record.passed else 1)


if __name__ == "__main__":
    run_app(app)
