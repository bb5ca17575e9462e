"""What is looked at before the stack is started as containers. Docker and nvidia-smi are a table of what they print."""

import json
import os
import socket
from dataclasses import replace
from subprocess import CompletedProcess

import pytest
import requests

from config.errors import StackError
from config.paths import ROOT
from config.recipe import find_recipe
from config.settings import Settings
from engines.hub import HubAccess, HubStatus
from launch import container_checks, docker_checks
from launch.check_result import GIB, CheckStatus, failed_checks
from launch.compose import ContainerUser
from launch.container_checks import check_host_folder, check_readable_file
from launch.doctor import check_containers
from launch.model_size import ModelSize

INFO = {"ServerVersion": "28.2.2", "MemTotal": 64 * GIB, "Runtimes": {"runc": {}, "nvidia": {}}}
GPUS = tuple(f"{n}, GPU-{n}, 81920, 580.65.06, NVIDIA A100\n" for n in range(4))
MISTRAL = ModelSize.of(find_recipe(container_checks.MODEL), Settings.from_env({"DEVICE": "cuda"}))
UNKNOWN = ModelSize(MISTRAL.weights)  # of a model without a recipe, only the weights are known
UID, STRANGER = os.getuid(), os.getuid() + 1
BAD, NOTE, GOOD = CheckStatus.BAD, CheckStatus.NOTE, CheckStatus.GOOD


class Machine:
    """In the place of `run_tool`: what each command prints, by its first words; None where there is no command."""

    def __init__(self, root, **changed):
        self.prints = {
            "docker_info": json.dumps({**INFO, "DockerRootDir": str(root)}),
            "docker_compose": "2.39.1\n",
            "docker_image": "abc\n",
            "docker_ps": "",
            "nvidia_smi": "".join(GPUS),
        } | changed

    def __call__(self, command):
        words = "_".join(command[:2]) if command[0] == "docker" else "nvidia_smi"
        printed = self.prints[words]
        return CompletedProcess(command, 0, printed, "") if isinstance(printed, str) else printed


def failure(stderr):
    return CompletedProcess([], 1, json.dumps({"ServerVersion": "", "Runtimes": None}), stderr)


def offline(*_, **__):
    raise requests.ConnectionError


@pytest.fixture
def env(tmp_path):
    (tmp_path / "hf" / "hub").mkdir(parents=True)
    (tmp_path / "kv").mkdir()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    return {
        "UI_PORT": str(port),
        "KV_STORE_DIR": str(tmp_path / "kv"),
        "LOCAL_HF_HOME": str(tmp_path / "hf"),
        "RESULTS_DIR": str(tmp_path / "results"),
        "ARENA_UID": str(UID),
        "ARENA_GID": str(os.getgid()),
    }


@pytest.fixture
def bad(env, tmp_path):
    """The bad findings of a machine that lacks nothing but what is changed: a command's output, or a setting."""

    def examine(*, cpu=False, available=64 * GIB, **changed):
        run = Machine(tmp_path, **{name: value for name, value in changed.items() if name.islower()})
        given = env | {name: value for name, value in changed.items() if name.isupper()}
        return failed_checks(check_containers(given, cpu=cpu, run=run, get=offline, available=available))

    return examine


def test_a_machine_that_lacks_nothing_has_no_bad_finding(bad):
    assert bad() == bad(cpu=True) == bad(cpu=True, MODEL="SmolLM2-135M-Instruct") == ()


@pytest.mark.parametrize(
    ("changed", "subjects", "advice"),
    [
        ({"cpu": True, "docker_info": None, "docker_compose": None}, ["Docker", "Compose"], "./arena up"),
        ({"docker_info": failure("permission denied while trying to connect")}, ["Docker"], "usermod"),
        ({"docker_info": failure("Cannot connect to the Docker daemon")}, ["Docker"], "systemctl start docker"),
        ({"docker_compose": "2.24.3"}, ["Compose"], "2.24.4"),
        ({"docker_compose": "v2.20.2+ds1"}, ["Compose"], "2.24.4"),
        ({"docker_compose": CompletedProcess([], 1, "", "unknown command")}, ["Compose"], "2.24.4"),
        ({"cpu": True, "available": 10 * GIB}, ["memory"], "--engines 2"),
        ({"nvidia_smi": None}, ["GPUs"], "--cpu"),
        ({"nvidia_smi": "".join(GPUS[:2])}, ["GPU", "GPU"], "set GPU_LMCACHE_A in .env to one of these"),
        ({"cpu": True, "MODEL": "owner/name"}, ["model"], "SmolLM2-135M-Instruct"),
        ({"MODEL": "llava-1.5"}, ["model"], "did you mean llava-1.5-7b-hf?"),
        ({"MODEL": "/data/mine"}, ["model"], "MODEL to /models/mine"),
        ({"MODEL": "/models/../data/mine"}, ["model"], "MODEL to /models/mine"),
        ({"MODEL": "/models/mine"}, ["model"], "set MODEL_DIR"),
        ({"MODEL": "/models/mine", "MODEL_DIR": "/none"}, ["model"], "MODEL_DIR here"),
        ({"HF_TOKEN_FILE": "/none/secret"}, ["token"], "name an existing file"),
        ({"UI_PASSWORD_FILE": "/none/secret"}, ["password"], "name an existing file"),
    ],
)
def test_what_a_machine_or_a_setting_lacks_is_bad_with_what_to_do(bad, changed, subjects, advice):
    found = bad(**changed)
    assert ([each.subject for each in found], advice in found[0].advice) == (subjects, True)


@pytest.mark.parametrize(("stderr", "remedy"), [("permission denied", "usermod"), ("Cannot connect", "start docker")])
def test_containers_that_cannot_be_reached_are_reported_with_the_remedy_of_the_reason(tmp_path, stderr, remedy):
    machine = Machine(tmp_path, docker_ps=failure(stderr), docker_info=failure(stderr))
    with pytest.raises(StackError, match=remedy):
        docker_checks.containers_exist({}, machine)


def test_containers_exist_where_docker_lists_any(tmp_path):
    assert docker_checks.containers_exist({}, Machine(tmp_path, docker_ps="4f5e\n"))
    assert not docker_checks.containers_exist({}, Machine(tmp_path))


def test_too_little_room_for_the_images_is_bad_unless_they_are_built(tmp_path):
    docker = docker_checks.DockerInfo.model_validate({"DockerRootDir": str(tmp_path)})
    for image, gib, status in (("", 7, BAD), ("", 9, GOOD), ("abc\n", 0, GOOD)):
        run = Machine(tmp_path, docker_image=image)
        assert docker_checks.check_images(run, docker, cpu=True, free=gib * GIB).status is status


def test_a_taken_page_port_is_bad_unless_our_own_page_has_it(bad):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        (found,) = bad(UI_PORT=port)
        assert bad(UI_PORT=port, docker_ps=f"page 127.0.0.1:{port}->7860/tcp") == ()
    assert "UI_PORT" in found.advice


def test_the_memory_of_a_stack_that_runs_already_is_not_missing(bad):
    assert bad(cpu=True, available=10 * GIB, docker_ps="plain-a ") == ()


@pytest.mark.parametrize(
    ("runtimes", "devices", "hook", "status"),
    [
        (["nvidia"], [], None, GOOD),
        ([], ["nvidia.com/gpu=0"], None, GOOD),
        ([], [], "/usr/bin/hook", GOOD),
        (["runc"], [], None, BAD),
    ],
)
def test_docker_reaches_gpus_by_a_runtime_a_device_or_a_hook(runtimes, devices, hook, status):
    found = docker_checks.check_toolkit(runtimes, devices, which=lambda _: hook)
    assert (found.status, "nvidia-ctk runtime configure" in found.advice) == (status, status is BAD)


def test_a_gpu_that_is_missing_is_named_with_its_variable_and_those_that_exist(bad):
    first, second = bad(nvidia_smi="".join(GPUS[:2]))
    assert first.fact == "GPU_LMCACHE_A=2: there is no such GPU, only 0, 1"
    assert "GPU_LMCACHE_B" in second.fact


def gpu(number, gib=80):
    return docker_checks.Gpu(str(number), f"GPU-{number}", int(gib * GIB), "580.65.06", "card")


ONE = dict.fromkeys(docker_checks.GPU_DEFAULTS, "0")


def test_engines_share_a_gpu_only_with_a_bounded_kv_cache():
    (found,) = failed_checks(docker_checks.check_gpus(ONE, [gpu(0)], None, 0.0))
    assert ("4 engines" in found.fact, "KV_CACHE_MEMORY_GB" in found.advice) == (True, True)
    (found,) = failed_checks(docker_checks.check_gpus(ONE, [gpu(0, gib=96)], MISTRAL, 0.0))
    assert "set KV_CACHE_MEMORY_GB in .env to 5," in found.advice
    (note,) = [f for f in docker_checks.check_gpus(ONE, [gpu(0)], None, 4.0) if f.status is NOTE]
    assert "4 engines share" in note.fact


def test_a_kv_cache_that_does_not_hold_the_longest_prompt_is_bad_because_vllm_would_not_start():
    (found,) = failed_checks(docker_checks.check_gpus({}, [gpu(n) for n in range(4)], MISTRAL, 4.0))
    assert (found.subject, "32,768 tokens" in found.fact, "4.002" in found.advice) == ("KV cache", True, True)
    assert failed_checks(docker_checks.check_gpus({}, [gpu(n) for n in range(4)], MISTRAL, 4.25)) == ()


def test_a_gpu_that_the_longest_prompt_nearly_fills_is_a_note():
    (close,) = [f for f in docker_checks.check_gpus({}, [gpu(n, gib=22.5) for n in range(4)], MISTRAL, 0.0) if f.advice]
    assert (close.subject, close.status) == ("GPU memory", NOTE)


@pytest.mark.parametrize(("driver", "notes"), [("570.86.15", ["driver"]), ("580.65.06", []), ("[N/A]", [])])
def test_a_driver_that_may_be_too_old_for_the_image_is_a_note(driver, notes):
    """Not more, because NVIDIA's forward compatibility lets some GPUs do with an older one."""
    found = docker_checks.check_gpus({}, [replace(gpu(number), driver=driver) for number in range(4)], None, 0.0)
    assert [each.subject for each in found if each.status is NOTE] == notes


def test_what_a_model_needs_is_known_of_a_recipe_without_the_hub(bad):
    found = bad(nvidia_smi="".join(each.replace("81920", "16384") for each in GPUS))
    assert [each.subject for each in found] == ["GPU memory"]
    assert "(computed)" in found[0].fact
    found = bad(GPU_LMCACHE_B="2")
    assert [each.subject for each in found] == ["GPU"]
    two = {"GPU_PLAIN_B": "0", "GPU_LMCACHE_A": "1", "GPU_LMCACHE_B": "1"}
    assert bad(**two, KV_CACHE_MEMORY_GB="5") == ()
    assert [each.subject for each in bad(**two, KV_CACHE_MEMORY_GB="5", DTYPE="float32")] == ["KV cache"]


LIMIT = ("CACHE_MEMORY", "64g")


@pytest.mark.parametrize(("limit", "status"), [("32g", GOOD), ("20G", BAD), ("20480mb", BAD), ("a lot", GOOD)])
def test_an_l1_that_its_container_has_no_memory_for_is_bad(limit, status):
    found = container_checks.check_l1(20, "none", MISTRAL, None, "CACHE_MEMORY", limit)
    assert (found.status, "CACHE_MEMORY" in found.advice) == (status, status is BAD)


def test_cache_servers_that_take_more_than_the_host_has_are_bad():
    host = docker_checks.DockerInfo.model_validate(INFO)
    assert container_checks.check_l1(20, "none", MISTRAL, host, *LIMIT).status is GOOD
    found = container_checks.check_l1(40, "aesgcm", MISTRAL, host, *LIMIT)
    assert (found.status, "80 GiB" in found.fact, "L1_SIZE_GB" in found.advice) == (BAD, True, True)


def test_prompts_that_l1_has_no_room_to_load_are_a_note_with_the_size_that_has():
    found = container_checks.check_l1(20, "aesgcm", MISTRAL, None, *LIMIT)
    assert (found.status, "16,384 tokens" in found.fact, "L1_SIZE_GB=40" in found.advice) == (NOTE, True, True)
    assert container_checks.check_l1(40, "aesgcm", MISTRAL, None, *LIMIT).status is GOOD
    assert container_checks.check_l1(1, "aesgcm", UNKNOWN, None, *LIMIT).status is GOOD


def test_a_model_too_large_for_the_smallest_chosen_gpu_is_bad():
    small = (gpu(0), gpu(1), gpu(2), gpu(3, gib=16), gpu(4, gib=8))  # the last serves none
    (found,) = failed_checks(docker_checks.check_gpus({}, small, UNKNOWN, 0.0))
    assert ("17.5 GiB" in found.fact, "GPU 3 has 16.0" in found.fact) == (True, True)


def test_engines_that_share_a_gpu_are_counted_together():
    assert failed_checks(docker_checks.check_gpus(ONE, [gpu(0)], UNKNOWN, 2.0)) == ()
    (found,) = failed_checks(docker_checks.check_gpus({**ONE, "GPU_PLAIN_A": "GPU-0"}, [gpu(0)], UNKNOWN, 4.0))
    assert "turn down KV_CACHE_MEMORY_GB" in found.advice


def user(uid, gid=9999):
    return {"ARENA_UID": str(uid), "ARENA_GID": str(gid)}


def test_a_missing_folder_is_a_note_that_says_who_makes_it(tmp_path):
    found = check_host_folder("KV volume", tmp_path / "none", user(10001, 10001), None)
    assert (found.status, "install -d -o 10001 -g 10001" in found.advice) == (NOTE, True)


def test_a_folder_that_cannot_be_written_is_bad_with_the_command_that_opens_it(tmp_path):
    chown = f"sudo chown -R {STRANGER}:9999 {tmp_path}"
    assert (check_host_folder("KV volume", tmp_path, user(STRANGER), None)).advice == chown
    tmp_path.chmod(0o500)  # also to its owner
    own, other = (check_host_folder("KV volume", tmp_path, user(uid), None) for uid in (UID, STRANGER))
    assert (own.status, other.status) == (BAD, BAD)
    assert (own.advice, other.advice) == (
        f"sudo chmod -R u+rwX {tmp_path}",
        f"{chown} && sudo chmod -R u+rwX {tmp_path}",
    )


def test_a_folder_inside_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "arena").mkdir(mode=0o500)
    found = container_checks.check_volume({**user(UID), "KV_STORE_DIR": str(tmp_path)}, None)
    assert (found.status, str(tmp_path / "arena") in found.fact) == (BAD, True)


def test_who_may_write_is_not_guessed_where_docker_maps_users(env):
    rootless = docker_checks.DockerInfo.model_validate({"SecurityOptions": ["name=rootless"]})
    assert container_checks.check_volume({**env, "ARENA_UID": "9"}, rootless).status is NOTE


@pytest.mark.parametrize(("setting", "subject"), [("HF_TOKEN_FILE", "token"), ("UI_PASSWORD_FILE", "password")])
def test_a_secrets_file_that_containers_cannot_read_is_bad_and_its_content_is_not_shown(
    tmp_path, bad, setting, subject
):
    file = tmp_path / "secret"
    file.write_text("hf_sesame")
    file.chmod(0o000)
    (found,) = bad(**{setting: str(file)})
    assert (found.subject, "sesame" in f"{found}") == (subject, False)
    file.chmod(0o400)
    assert check_readable_file("token", file, ContainerUser(UID, os.getgid())) is None


@pytest.mark.parametrize("cpu", [False, True])
def test_results_that_containers_cannot_write_are_found_before_the_start(bad, tmp_path, cpu):
    (tmp_path / "results").mkdir()
    stranger = {**user(STRANGER), "RESULTS_DIR": str(tmp_path / "results")}
    found = container_checks.check_results(stranger, None)
    assert found.advice == f"sudo chown -R {STRANGER}:9999 {tmp_path / 'results'}"
    assert found.status is (BAD if UID == 0 else NOTE)  # the caller's own are good for ./arena bench
    assert ("results" in {each.subject for each in bad(cpu=cpu, **stranger)}) is (UID == 0)


def test_a_key_that_containers_cannot_read_is_found_before_the_start(tmp_path):
    (tmp_path / "kv.key").touch(mode=0o600)
    tmp_path.chmod(0o777)
    for uid, status in ((STRANGER, BAD), (UID, GOOD)):
        assert container_checks.check_key({**user(uid), "KV_KEY_DIR": str(tmp_path)}, None).status is status


def test_a_hub_that_cannot_be_reached_is_a_note(env):
    found, weights = container_checks.check_model(env, None, offline)
    assert (found[0].status, weights) == (NOTE, None)


@pytest.mark.parametrize("answer", [HubStatus.MISSING, HubStatus.GATED, HubStatus.REJECTED, HubStatus.REFUSED])
def test_every_refusal_of_the_hub_is_bad_with_a_next_step(answer):
    found = container_checks.check_hub_access("owner/name", HubAccess(answer))
    assert (found.status, bool(found.advice)) == (BAD, True)


def test_a_model_in_the_cache_needs_no_hub(env, tmp_path):
    folder = tmp_path / "hf" / "hub" / "models--owner--name" / "snapshots" / "abc"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(b"x" * 9)
    (found,), weights = container_checks.check_model({**env, "MODEL": "owner/name"}, None, offline)
    assert (found.status, weights) == (GOOD, 9)


def test_a_model_needs_its_companions_too(env):
    found, weights = container_checks.check_model({**env, "MODEL": "ultravox-v0_5-llama-3_2-1b"}, None, offline)
    asked = " ".join(each.fact for each in found)
    assert all(name in asked for name in ("fixie-ai/ultravox", "meta-llama/Llama-3.2-1B-Instruct", "openai/whisper"))
    assert weights is None


def test_a_whole_model_below_the_models_folder_is_good(bad, tmp_path):
    (tmp_path / "mine").mkdir()
    for name in ("config.json", "model.safetensors", "tokenizer.json", "chat_template.jinja"):
        (tmp_path / "mine" / name).write_text("{}")
    assert bad(MODEL="/models/mine", MODEL_DIR=str(tmp_path)) == ()


def test_a_disk_too_small_for_the_model_is_bad(tmp_path):
    (found,) = container_checks.check_download_room(tmp_path, HubAccess(HubStatus.OPEN, weights=2**60))
    assert "LOCAL_HF_HOME" in found.advice


def test_names_and_defaults_are_those_of_the_compose_files():
    gpu, cpu = ((ROOT / f"docker-compose{kind}.yml").read_text() for kind in ("", ".cpu"))
    assert f"MODEL:-{container_checks.MODEL}}}" in gpu
    assert f"L1_SIZE_GB:-{container_checks.L1_SIZE_GB}}}" in gpu
    assert all(f"{name}:-{limit}}}" in gpu for name, limit in container_checks.MEMORY_LIMITS.items())
    assert all(f"image: {name}:" in gpu for name in docker_checks.IMAGES[False])
    assert f"image: {docker_checks.IMAGES[True][0]}:" in cpu
    assert all(f"{name}:-{index}}}" in gpu for name, index in docker_checks.GPU_DEFAULTS.items())
