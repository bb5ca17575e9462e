import json
import os
import stat
import subprocess

import pytest

from config.errors import ConfigError, StackError
from config.paths import ROOT
from config.settings import Settings
from launch.compose import (
    HOST_PATHS,
    Composition,
    ContainerUser,
    chown_folder,
    compose_environment,
    compose_path,
    remove_record,
    run_output,
    write_token_file,
)
from launch.containers import service_statuses
from launch.doctor import check_containers


def test_the_cpu_form_lays_its_file_over_the_first_and_compose_itself_reads_no_file_of_settings():
    for cpu, files in ((False, ["docker-compose.yml"]), (True, ["docker-compose.yml", "docker-compose.cpu.yml"])):
        words = Composition(cpu=cpu, profiles=("router",)).command("ps")
        assert [word for word in words if word.endswith(".yml")] == [str(ROOT / file) for file in files]
        assert words[words.index("--env-file") + 1] == os.devnull
        assert words[-3:] == ["--profile", "router", "ps"]


def test_what_was_started_is_recorded_until_it_is_stopped(tmp_path):
    chosen = Composition(cpu=True, profiles=("observability",), model="SmolLM2-135M-Omni")
    chosen.record(tmp_path)
    assert Composition.recorded(tmp_path) == chosen
    remove_record(tmp_path)
    assert Composition.recorded(tmp_path) == Composition()


def test_a_connector_inside_vllms_process_brings_its_file_and_settings_and_is_recorded(tmp_path, monkeypatch):
    monkeypatch.setenv("KV_CONNECTOR", "offloading")
    with pytest.raises(ConfigError, match="KV_SERDE=none"):
        Composition.of()
    monkeypatch.setenv("KV_SERDE", "none")
    with pytest.raises(ConfigError, match="needs GPUs: leave out --cpu"):
        Composition.of(cpu=True)
    Composition.of().record(tmp_path)
    monkeypatch.delenv("KV_CONNECTOR")
    found = Composition.recorded(tmp_path)
    files = [word for word in found.command("ps") if word.endswith(".yml")]
    assert files == [str(ROOT / f"docker-compose{form}.yml") for form in ("", ".in-process")]
    assert (found.environment()["KV_CONNECTOR"], found.environment()["KV_SERDE"]) == ("offloading", "none")


@pytest.mark.parametrize(
    "content", ["", "[1]", "null", '{"cpu": 1, "profiles": "x"}', '{"profiles": [["a"], 7, "router"]}', "[" * 100_000]
)
def test_a_damaged_record_is_that_of_a_plain_start(tmp_path, content):
    Composition().record(tmp_path)
    (tmp_path / "run" / "containers.json").write_text(content)
    assert Composition.recorded(tmp_path) == Composition(profiles=("router",) if "router" in content else ())


def test_the_token_goes_into_a_file_that_only_its_user_reads(tmp_path):
    given, dotenv = {"HF_TOKEN": "hf_secret", "ARENA_HOME": str(tmp_path)}, tmp_path / ".env"
    write_token_file(compose_environment(given, dotenv=dotenv), "hf_secret")
    env = compose_environment(given, dotenv=dotenv)
    path = tmp_path / "run" / "hf_token"
    assert ("hf_secret" in env.values(), env["HF_TOKEN_FILE"]) == (False, str(path))
    assert (path.read_text(), stat.S_IMODE(path.stat().st_mode)) == ("hf_secret", 0o600)
    write_token_file(env, "")
    assert not path.exists()


def test_containers_run_as_the_caller_and_never_as_root(tmp_path):
    def user(uid, *, cpu=False, **given):
        return compose_environment(given, cpu=cpu, dotenv=tmp_path / ".env", uid=uid)["ARENA_UID"]

    assert (user(1234), user(0), user(1234, ARENA_UID="7"), user(1234, ARENA_UID="")) == ("1234", "1000", "7", "1234")
    assert user(1234, cpu=True) == "1000"  # as a plain `docker compose up` has it: they share Docker's volumes
    with pytest.raises(ConfigError, match="ARENA_UID=me"):
        ContainerUser.of({"ARENA_UID": "me"})


def test_the_file_of_settings_counts_and_the_caller_counts_more(tmp_path):
    dotenv = tmp_path / ".env"
    dotenv.write_text("GPU_PLAIN_A=4\nGPU_PLAIN_B=5\nMODEL=\nKV_STORE_DIR=${HOME}/kv\nUI_PASSWORD=pa$$word1\n")
    env = compose_environment({"GPU_PLAIN_B": "6", "HOME": "/home/me"}, dotenv=dotenv)
    assert (env["GPU_PLAIN_A"], env["GPU_PLAIN_B"], "MODEL" in env) == ("4", "6", False)
    assert (env["KV_STORE_DIR"], env["UI_PASSWORD"]) == ("/home/me/kv", "pa$word1")


def test_a_path_is_what_compose_takes_it_for():
    assert compose_path({}, "KV_STORE_DIR") == ROOT / ".arena" / "kv"
    assert compose_path({"KV_STORE_DIR": "../kv"}, "KV_STORE_DIR") == ROOT.parent / "kv"
    with pytest.raises(ConfigError, match=r"\./kv"):
        compose_path({"KV_STORE_DIR": "kv"}, "KV_STORE_DIR")
    compose = (ROOT / "docker-compose.yml").read_text()
    assert all(f"{name}:-{default}}}" in compose for name, default in HOST_PATHS.items() if default)


@pytest.mark.skipif(os.getuid() != 0, reason="only root gives folders away")
def test_roots_empty_folders_become_the_containers_users_and_filled_ones_stay_unless_they_are_results(tmp_path):
    env = {"ARENA_UID": "1000", "ARENA_GID": "1000"}
    for name in ("empty", "filled", "results"):
        (tmp_path / name).mkdir()
    for name in ("filled", "results"):
        (tmp_path / name / "file").touch()
    for name in ("new", "empty", "filled"):
        chown_folder(tmp_path / name, env)
    chown_folder(tmp_path / "results", env, filled=True)
    owners = {path.name: path.stat().st_uid for path in tmp_path.iterdir()}
    assert owners == {"new": 1000, "empty": 1000, "filled": 0, "results": 1000}
    assert (tmp_path / "results" / "file").stat().st_uid == 0


def test_a_failing_docker_is_one_line():
    def run(command, **_):
        return subprocess.CompletedProcess(command, 1, "", "one\nCannot connect to the Docker daemon\n")

    with pytest.raises(StackError, match="Cannot connect"):
        run_output(["docker", "compose", "ps"], {}, run)


def test_status_lists_all_services_in_the_arenas_order_with_those_that_are_absent():
    rows = [
        {"Service": "plain-a", "ID": "x1", "State": "running", "Health": "healthy"},
        {"Service": "cache-b", "ID": "x2", "State": "exited", "Health": ""},
        {"Service": "model", "ID": "x3", "State": "exited", "Health": ""},
    ]
    listed = "\n".join(map(json.dumps, rows))
    found = {c.name: c for c in service_statuses(listed, {"x1": 77}, Settings.from_env({}))}
    assert list(found) == ["cache-a", "cache-b", "plain-a", "plain-b", "lmcache-a", "lmcache-b", "page"]
    assert (found["plain-a"].healthy, found["plain-a"].pid, found["plain-a"].state) == (True, 77, "running, healthy")
    assert (found["cache-b"].healthy, found["cache-b"].state) == (False, "exited")
    assert (found["lmcache-a"].healthy, found["lmcache-a"].state) == (False, "absent")


def test_sizes_are_those_of_the_containers_device_and_not_of_the_hosts(tmp_path, monkeypatch):
    """vLLM takes blocks of 16 tokens on GPUs and not on a CPU, which is the default of DEVICE."""
    monkeypatch.setenv("ARENA_HOME", str(tmp_path))
    monkeypatch.setenv("BLOCK_SIZE", "16")
    assert Composition.of().environment()["BLOCK_SIZE"] == "16"
    with pytest.raises(ConfigError, match="BLOCK_SIZE=16"):
        Composition.of(cpu=True)
    with pytest.raises(ConfigError, match="BLOCK_SIZE=16"):
        next(check_containers({"BLOCK_SIZE": "16"}, cpu=True))
