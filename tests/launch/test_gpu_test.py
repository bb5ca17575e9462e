"""`./arena test --gpu` with a fake in the place of the commands that it runs; the last tests run real programs."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import typer
from bench_results import golden

from config.errors import ConfigError, ResultError, StackError
from config.paths import ROOT
from launch.docker_checks import Gpu
from launch.gpu_folder import (
    Outcome,
    cards_in_use,
    complete_result,
    files_with_secrets,
    known_secrets,
    read_record,
    shown_settings,
    summary_table,
)
from launch.gpu_test import MEASUREMENTS, GpuTest, finish, new_record, refuse_running_stack, resumed_record
from launch.logged_run import INTERRUPTED, NOT_STARTED, run_logged

ALL = ",".join(MEASUREMENTS)


class Machine:
    """In the place of `run_logged`: a benchmark leaves a result, and a step has the exit code that a test chooses."""

    def __init__(self, folder, **codes):
        self.folder, self.codes = folder, codes
        self.changes = {}  # of results
        self.steps = []  # names of the steps, in the order of their runs
        self.words, self.connectors, self.facts = {}, {}, {}

    def run(self, command, log, env, shown):
        if not shown:
            self.facts[str(log.relative_to(self.folder))] = command
            return 0
        self.steps.append(log.stem)
        self.words[log.stem], self.connectors[log.stem] = command[1:], env.get("KV_CONNECTOR")
        code = self.codes.get(log.stem, 0)
        if log.stem in MEASUREMENTS and code != 2:
            self.leave_result(log.stem, complete=code != INTERRUPTED)
        return code

    def leave_result(self, name, *, complete):
        (self.folder / name).mkdir(exist_ok=True)
        kind = MEASUREMENTS[name].kind
        (self.folder / name / "result.json").write_text(
            json.dumps(golden(kind, {"complete": complete, **self.changes}))
        )

    def test(self, *, steps=ALL, cpu=False, resume=False, secrets=()):
        """A run on this machine; `secrets` are values."""
        record = resumed_record(self.folder, cpu=cpu) if resume else new_record(self.folder, cpu=cpu, steps=steps)
        record.cards = "" if cpu else "4 × NVIDIA L4"
        record.save(self.folder)
        named = {f"TOKEN_{number}": value for number, value in enumerate(secrets)}
        named["ARENA_HOME"] = str(self.folder.parent)
        return GpuTest(self.folder, record, self.run, {"MODEL": "a/b"}, named)

    def finish(self, **options):
        """Runs a test to its end, and returns the exit code and what it recorded."""
        test = self.test(**options)
        with pytest.raises(typer.Exit) as ended:
            finish(test)
        return ended.value.exit_code, read_record(self.folder).steps


@pytest.fixture
def machine(tmp_path):
    return Machine(tmp_path / "gpu-test")


def test_on_cards_every_connector_is_started_measured_and_stopped(machine):
    code, recorded = machine.finish()
    first = ["doctor", "up", "ttft", "verify", "mm", "decode", "storage", "down"]
    others = [f"{step}-{name}" for name in ("lmcache", "offloading") for step in ("up", "ttft", "down")]
    assert machine.steps == first + others == list(recorded)
    assert machine.connectors["storage"] == machine.connectors["down"] == "lmcache-mp"
    assert machine.connectors["ttft-offloading"] == machine.connectors["up-offloading"] == "offloading"
    assert machine.words["up-lmcache"] == ["up", "--docker", "--detach"]
    assert machine.words["ttft"] == ["bench", "ttft", "--num-prompts", "24", "--result-dir", "ttft"]
    assert (code, recorded["up"].outcome, recorded["ttft"].outcome) == (0, Outcome.DONE, Outcome.HOLDS)


def test_a_rehearsal_runs_on_the_cpu_images_and_says_what_needs_a_card(machine):
    code, recorded = machine.finish(cpu=True)
    assert machine.steps == ["doctor", "up", "ttft", "verify", "mm", "decode", "storage", "down"]
    assert machine.words["doctor"] == ["doctor", "--docker", "--cpu"]
    assert recorded["ttft-lmcache"].outcome is Outcome.NOT_RUN
    assert "needs a GPU" in recorded["ttft-lmcache"].note
    assert code == 0
    assert "no card was used" in (machine.folder / "summary.md").read_text()


def test_only_the_chosen_steps_are_run_and_a_connector_without_one_is_not_started(machine):
    machine.finish(steps="ttft-lmcache, mm")
    assert machine.steps == ["doctor", "up", "mm", "down", "up-lmcache", "ttft-lmcache", "down-lmcache"]


def test_a_step_that_fails_and_a_claim_that_does_not_hold_do_not_hide_the_following_ones(machine):
    machine.codes = {"ttft": 1, "verify": 2}
    code, recorded = machine.finish(steps="ttft,verify,mm")
    assert [recorded[name].outcome for name in ("ttft", "verify", "mm")] == [
        Outcome.NO_CLAIM,
        Outcome.FAILED,
        Outcome.HOLDS,
    ]
    assert (code, recorded["ttft"].exit_code, machine.steps[-1]) == (1, 1, "down")


def test_without_a_stack_nothing_is_measured_its_logs_are_kept_and_it_is_stopped(machine):
    machine.codes = {"up": 1}
    code, recorded = machine.finish(steps="ttft,ttft-lmcache")
    assert machine.steps == ["doctor", "up", "down", "up-lmcache", "ttft-lmcache", "down-lmcache"]
    assert (code, recorded["ttft"].outcome, recorded["ttft"].note) == (1, Outcome.NOT_RUN, "up failed")
    assert "services/lmcache-mp/cache-b.log" in machine.facts


def test_a_machine_that_is_not_fit_starts_nothing(machine):
    machine.codes = {"doctor": 1}
    with pytest.raises(StackError, match="--cpu"):
        finish(machine.test())
    assert machine.steps == ["doctor"]
    assert (machine.folder / "summary.md").exists()


def test_an_interrupted_benchmark_is_resumed_and_what_has_ended_is_not_repeated(machine):
    machine.codes = {"ttft": 1, "verify": INTERRUPTED}
    with pytest.raises(KeyboardInterrupt):
        finish(machine.test(steps="ttft,verify,mm"))
    assert machine.steps == ["doctor", "up", "ttft", "verify", "down"]
    assert read_record(machine.folder).steps["verify"].outcome is Outcome.INTERRUPTED
    machine.codes, machine.steps = {}, []
    code, recorded = machine.finish(resume=True)
    assert machine.steps == ["doctor", "up", "verify", "mm", "down"]
    assert machine.words["verify"][-1] == "--resume"
    assert "--resume" not in machine.words["mm"]
    assert (code, recorded["ttft"].outcome, recorded["verify"].outcome) == (1, Outcome.NO_CLAIM, Outcome.HOLDS)


def test_a_benchmark_that_was_interrupted_while_its_report_was_drawn_is_measured_again(machine):
    machine.codes = {"ttft": 1}
    machine.finish(steps="ttft")
    record = read_record(machine.folder)
    record.steps["ttft"].outcome = Outcome.INTERRUPTED
    record.save(machine.folder)
    machine.codes, machine.steps = {}, []
    code, recorded = machine.finish(resume=True)
    assert (code, recorded["ttft"].outcome) == (0, Outcome.HOLDS)
    assert "--resume" not in machine.words["ttft"]


@pytest.mark.parametrize("step", ["up", "ttft-lmcache"])
def test_the_stack_is_stopped_after_an_interruption_at_any_step(machine, step):
    machine.codes = {step: INTERRUPTED}
    with pytest.raises(KeyboardInterrupt):
        finish(machine.test(steps="ttft,ttft-lmcache"))
    assert machine.steps[-2:] == [step, step.replace("ttft", "down").replace("up", "down")]


def test_a_model_that_takes_no_media_is_no_failure(machine):
    machine.codes = {"mm": 1}
    machine.changes = {"refused": {"image": "At most 0 image_url"}, "modalities": {}}
    code, recorded = machine.finish(steps="mm")
    assert (code, recorded["mm"].outcome, recorded["mm"].exit_code) == (0, Outcome.NOT_RUN, 1)


def test_a_run_in_which_everything_has_ended_starts_nothing_when_it_is_resumed(machine):
    machine.finish(steps="mm")
    machine.steps = []
    assert machine.finish(resume=True)[0] == 0
    assert machine.steps == []


@pytest.mark.parametrize("steps", ["ttft,fly", "", "doctor"])
def test_an_unknown_step_is_refused_and_makes_no_folder(machine, steps):
    with pytest.raises(ConfigError, match="--steps"):
        machine.test(steps=steps)
    assert not machine.folder.exists()


def test_a_folder_that_exists_is_refused_and_one_that_is_not_ours_is_not_resumed(machine):
    machine.folder.mkdir()
    with pytest.raises(ConfigError, match="exists already"):
        machine.test()
    for content in ("", "[]", '{"kind": "ttft", "cpu": false, "chosen": []}'):
        (machine.folder / "summary.json").write_text(content)
        with pytest.raises(ConfigError, match="was not made by"):
            machine.test(resume=True)


def test_a_run_on_cards_is_not_resumed_as_a_rehearsal(machine):
    machine.finish(steps="mm")
    with pytest.raises(ConfigError, match="without --cpu"):
        machine.test(cpu=True, resume=True)


def test_a_stack_of_somebody_else_is_not_stopped(tmp_path):
    def docker_lists(containers):
        return lambda _command: subprocess.CompletedProcess([], 0, containers, "")

    refuse_running_stack(tmp_path, {}, docker_lists(""))
    refuse_running_stack(tmp_path, {}, lambda _command: None)
    with pytest.raises(StackError, match="docker compose down"):
        refuse_running_stack(tmp_path, {}, docker_lists("1f2e"))
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "containers.json").write_text("{}")
    with pytest.raises(StackError, match=r"\./arena down"):
        refuse_running_stack(tmp_path, {}, docker_lists(""))


def test_a_secret_in_a_file_is_named_and_the_run_does_not_pass(machine):
    (code, _), secret = machine.finish(steps="mm", secrets=["hf_abcdef"]), "a fake"
    assert code == 0
    code, _ = machine.finish(resume=True, secrets=[secret, '"kind"'])
    summary = (machine.folder / "summary.md").read_text()
    assert code == 1
    assert "mm/result.json contains TOKEN_1" in summary
    assert "TOKEN_0" not in summary


def test_secrets_are_values_of_variables_and_of_files_and_no_short_words(tmp_path):
    (tmp_path / "token").write_text("hf_from_a_file\n")
    (tmp_path / "kv.key").write_bytes(bytes(range(32)))
    given = {"UI_PASSWORD": "correct horse", "OPENAI_API_KEY": "sk-123456", "TOKENIZERS_PARALLELISM": "false"}
    given |= {"HF_TOKEN_FILE": str(tmp_path / "token"), "KV_KEY_DIR": str(tmp_path), "ARENA_HOME": str(tmp_path / "no")}
    found = known_secrets({**given, "HOME": "/home/somebody"})
    assert set(found.values()) == {b"correct horse", b"sk-123456", b"hf_from_a_file", bytes(range(32)).strip()}
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "a.log").write_bytes(b"key: " + bytes(range(32)))
    assert list(files_with_secrets(tmp_path / "kept", found)) == [f"a.log contains {tmp_path / 'kv.key'}"]


def test_settings_are_kept_without_secrets():
    given = {"MODEL": "a/b", "HF_TOKEN": "hf_secret", "HF_TOKEN_FILE": "/etc/t", "DTYPE": "", "MY_OWN": "x"}
    given["ENGINE_URL"] = "http://somebody:word@host"
    assert shown_settings(given) == "ENGINE_URL=(set)\nHF_TOKEN=(set)\nHF_TOKEN_FILE=(set)\nMODEL=a/b\nMY_OWN=(set)\n"


def test_cards_are_those_that_the_engines_use():
    found = [Gpu(str(n), f"GPU-{n}", 0, "580.65.06", "NVIDIA L4" if n < 3 else "NVIDIA T4") for n in range(4)]
    shared = {"GPU_PLAIN_A": "0", "GPU_PLAIN_B": "0", "GPU_LMCACHE_A": "0", "GPU_LMCACHE_B": "0"}
    assert cards_in_use({}, found) == "3 × NVIDIA L4, 1 × NVIDIA T4"
    assert cards_in_use(shared, found) == "1 × NVIDIA L4"
    assert cards_in_use(shared | {"GPU_LMCACHE_B": "GPU-3"}, found) == "1 × NVIDIA L4, 1 × NVIDIA T4"
    assert cards_in_use({}, []) == ""


def test_the_one_row_has_the_medians_and_the_ratio_with_its_interval(machine):
    machine.finish(steps="ttft")
    line = summary_table(complete_result(machine.folder / "ttft"), "4 × NVIDIA L4").splitlines()[-1]
    cells = [cell.strip() for cell in line.strip("|").split("|")]
    assert cells == ["4 × NVIDIA L4", "fake", "1,100", "845 ms", "844 ms", "313 ms", "2.71 (2.67 to 2.73)"]
    assert line in (machine.folder / "summary.md").read_text()


def test_a_log_has_what_a_command_says_without_secrets_and_json_has_stdout_alone(tmp_path):
    says = [sys.executable, "-c", "import os, sys; print('a', os.environ['X']); print('b hf_secret', file=sys.stderr)"]
    for file in ("a.log", "a.log", "a.json", "a.json"):
        assert run_logged(says, tmp_path / "new" / file, {"X": "x"}, False, cwd=tmp_path, secrets=[b"hf_secret"]) == 0
    log = (tmp_path / "new" / "a.log").read_text().splitlines()
    assert sorted(log) == ["a x", "a x", "b ***", "b ***"]
    assert (tmp_path / "new" / "a.json").read_text() == "a x\n"
    assert run_logged([str(tmp_path / "none")], tmp_path / "b.log", {}, False, cwd=tmp_path) == NOT_STARTED


def test_a_full_disk_stops_no_command_and_is_an_error_of_the_record(machine, tmp_path):
    (tmp_path / "file").touch()
    for number, log in enumerate((Path("/dev/full"), tmp_path / "file" / "no-folder.log")):
        command = ["sh", "-c", f"echo cleaning; touch cleaned-{number}"]
        assert run_logged(command, log, {}, False, cwd=tmp_path) == 0
        assert (tmp_path / f"cleaned-{number}").exists()
    test = machine.test(steps="mm")
    (machine.folder / "summary.json").unlink()
    (machine.folder / "summary.json").mkdir()
    with pytest.raises(ResultError):
        finish(test)


ARENA = """#!/bin/sh
echo "$KV_CONNECTOR $*" >>"$0.asked"
[ "$1 $2" != "bench ttft" ] || exec {python} -c '
import pathlib, time
pathlib.Path("ttft").mkdir()
print("measuring", flush=True)
try:
    time.sleep(600)
except KeyboardInterrupt:
    pathlib.Path("ttft/result.json").write_text("kept")
'
"""
PROGRAM = """
import sys
from functools import partial
from pathlib import Path
from config.exit_codes import run_app
from launch import gpu_test
from launch.logged_run import run_logged
from launch.signals import interrupt_once
import typer
app = typer.Typer()
@app.command()
def main(folder: Path, arena: str):
    interrupt_once()
    record = gpu_test.new_record(folder, cpu=True, steps="ttft")
    record.save(folder)
    gpu_test.finish(gpu_test.GpuTest(folder, record, partial(run_logged, cwd=folder), {}, {}, arena))
run_app(app)
"""


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_reaches_the_benchmark_which_keeps_its_result_and_the_stack_is_stopped(tmp_path, how):
    arena, folder = tmp_path / "arena", tmp_path / "gpu-test"
    arena.write_text(ARENA.format(python=sys.executable))
    arena.chmod(0o755)
    command = [sys.executable, "-c", PROGRAM, str(folder), str(arena)]
    with subprocess.Popen(
        command, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, stderr=-1, text=True
    ) as child:
        deadline = time.monotonic() + 60
        while not (folder / "ttft.log").exists() or "measuring" not in (folder / "ttft.log").read_text():
            assert time.monotonic() < deadline
            time.sleep(0.05)
        child.send_signal(how)
        said = child.stderr.read()
    assert child.returncode == INTERRUPTED
    assert (folder / "ttft" / "result.json").read_text() == "kept"
    assert f"./arena test --gpu --resume {folder}" in said
    assert (tmp_path / "arena.asked").read_text().splitlines()[-1] == "lmcache-mp down"
    assert read_record(folder).steps["ttft"].outcome is Outcome.INTERRUPTED
