import json
import os
import socket
from subprocess import CompletedProcess

import pytest
import requests
from launch.host_folders import ContainerUser, check_readable_file, check_writable_folder
from launch.requirements import GIB

from config.errors import ConfigError, StackError
from config.paths import ROOT
from engines.hub import HubAccess, HubStatus
from launch import compose_doctor, docker_engine, gpus, model_access
from launch.check_result import CheckStatus, failed_checks

INFO = {"ServerVersion": "28.2.2", "MemTotal": 64 * GIB, "Runtimes": {"runc": {}, "nvidia": {}}}
A100 = "{}, GPU-{}, 81920, NVIDIA A100\n"
FOUR = "".join(A100.format(n, n) for n in range(4))
BIG = 7_241_732_096 * 2


class Machine:
    """Stands in for `run`: what each command prints, by its first words; a number is an exit code."""

    def __init__(self, root, **changed):
        self.says = {
            "docker info": json.dumps({**INFO, "DockerRootDir": str(root)}),
            "docker compose": "2.39.1\n",
            "docker image": "abc\n",
            "docker ps": "",
            "nvidia-smi": FOUR,
        }
        self.says |= {words.replace("_", " ").replace("nvidia smi", "nvidia-smi"): v for words, v in changed.items()}

    def __call__(self, command):
        said = next(said for words, said in self.says.items() if " ".join(command).startswith(words))
        if said is None or isinstance(said, CompletedProcess):
            return said
        return CompletedProcess(command, 0, said, "")


def failed(stderr):
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
        "ARENA_UID": str(os.getuid()),
        "ARENA_GID": str(os.getgid()),
    }


@pytest.fixture
def bad(env, tmp_path):
    """The bad findings of a machine that lacks nothing but what is changed."""

    def examine(*, cpu=False, available=64 * GIB, settings=(), **changed):
        run = Machine(tmp_path, **changed)
        found = compose_doctor.check_compose(
            {**env, **dict(settings)}, cpu=cpu, run=run, get=offline, available=available
        )
        return failed_checks(found)

    return examine


def test_a_machine_that_lacks_nothing_has_no_bad_finding(bad):
    assert bad() == bad(cpu=True) == ()


def test_a_missing_docker_command_is_told_with_the_way_that_needs_none(bad):
    found = bad(cpu=True, docker_info=None, docker_compose=None)
    assert [f.subject for f in found] == ["Docker", "Compose"]
    assert "./arena up" in found[0].advice


def test_a_socket_without_permission_is_not_taken_for_an_engine_that_is_down(bad):
    (closed,) = bad(docker_info=failed("permission denied while trying to connect to the Docker daemon socket"))
    (down,) = bad(docker_info=failed("Cannot connect to the Docker daemon. Is the docker daemon running?"))
    assert "usermod" in closed.advice
    assert "systemctl start docker" in down.advice


@pytest.mark.parametrize(
    ("said", "remedy"), [("permission denied while trying to connect", "usermod"), ("Cannot connect", "start docker")]
)
def test_containers_that_cannot_be_reached_are_told_with_the_remedy_of_the_reason(tmp_path, said, remedy):
    with pytest.raises(StackError, match=remedy):
        docker_engine.containers_exist({}, Machine(tmp_path, docker_ps=failed(said), docker_info=failed(said)))
    assert docker_engine.containers_exist({}, Machine(tmp_path, docker_ps="4f5e\n"))
    assert not docker_engine.containers_exist({}, Machine(tmp_path))


@pytest.mark.parametrize("said", ["2.24.3", "v2.20.2+ds1", CompletedProcess([], 1, "", "unknown command")])
def test_a_compose_that_is_missing_or_too_old_is_bad(bad, said):
    (finding,) = bad(docker_compose=said)
    assert "2.24.4" in finding.advice


def test_too_little_room_for_the_images_is_bad_unless_they_are_built(tmp_path):
    engine = docker_engine.DockerInfo.model_validate({"DockerRootDir": str(tmp_path)})
    unbuilt = Machine(tmp_path, docker_image="")
    assert docker_engine.check_disk_room(unbuilt, engine, cpu=True, free=lambda _: 7 * GIB).verdict is CheckStatus.BAD
    assert docker_engine.check_disk_room(unbuilt, engine, cpu=True, free=lambda _: 9 * GIB).verdict is CheckStatus.GOOD
    assert docker_engine.check_disk_room(Machine(tmp_path), engine, cpu=True).verdict is CheckStatus.GOOD


def test_a_taken_page_port_is_bad_unless_our_own_page_has_it(bad):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        (finding,) = bad(settings={"UI_PORT": str(port)})
        assert bad(settings={"UI_PORT": str(port)}, docker_ps=f"page 127.0.0.1:{port}->7860/tcp") == ()
    assert "UI_PORT" in finding.advice


def test_too_little_memory_is_bad_for_the_cpu_form_unless_it_runs_already(bad):
    (finding,) = bad(cpu=True, available=10 * GIB)
    assert "--engines 2" in finding.advice
    assert bad(cpu=True, available=10 * GIB, docker_ps="plain-a ") == ()


def test_a_docker_that_does_not_know_the_toolkit_is_told_how_to():
    finding = gpus.toolkit(["runc"], [], which=lambda _: None)
    assert "nvidia-ctk runtime configure" in finding.advice


@pytest.mark.parametrize(
    ("runtimes", "devices", "hook"),
    [(["nvidia"], [], None), ([], ["nvidia.com/gpu=0"], None), ([], [], "/usr/bin/hook")],
)
def test_docker_reaches_gpus_by_a_runtime_a_device_or_a_hook(runtimes, devices, hook):
    assert gpus.toolkit(runtimes, devices, which=lambda _: hook).verdict is CheckStatus.GOOD


def test_a_machine_without_gpus_is_told_of_the_cpu_form(bad):
    (finding,) = bad(nvidia_smi=None)
    assert "--cpu" in finding.advice


def test_a_gpu_that_is_not_there_is_named_with_its_variable_and_those_that_are(bad):
    first, second = bad(nvidia_smi=A100.format(0, "a") + A100.format(1, "b"))
    assert first.fact == "GPU_LMCACHE_A=2: there is no such GPU, only 0, 1"
    assert "GPU_LMCACHE_B" in second.fact


def cards(count, gib=80):
    return tuple(gpus.Gpu(str(n), f"GPU-{n}", gib * GIB, "card") for n in range(count))


def test_engines_share_a_card_only_with_a_bounded_kv_cache():
    env = dict.fromkeys(gpus.DEFAULTS, "0")
    (finding,) = failed_checks(gpus.check_gpus(env, cards(1), None, 0.0))
    assert "4 engines" in finding.fact
    assert "KV_CACHE_MEMORY_GB" in finding.advice
    (note,) = [f for f in gpus.check_gpus(env, cards(1), None, 4.0) if f.verdict is CheckStatus.NOTE]
    assert "4 engines share" in note.fact


def test_a_model_too_large_for_the_smallest_chosen_card_is_bad():
    small = (*cards(3), gpus.Gpu("3", "GPU-3", 16 * GIB, "T4"), gpus.Gpu("4", "GPU-4", 8 * GIB, "unused"))
    (finding,) = failed_checks(gpus.check_gpus({}, small, BIG, 0.0))
    assert "17.5 GiB" in finding.fact
    assert "GPU 3 has 16.0" in finding.fact


def test_engines_that_share_a_card_are_counted_together():
    env = dict.fromkeys(gpus.DEFAULTS, "0")
    assert failed_checks(gpus.check_gpus(env, cards(1), BIG, 2.0)) == ()
    (finding,) = failed_checks(gpus.check_gpus({**env, "GPU_PLAIN_A": "GPU-0"}, cards(1), BIG, 4.0))
    assert "turn down KV_CACHE_MEMORY_GB" in finding.advice


def test_a_missing_kv_folder_is_a_note_that_says_who_makes_it(tmp_path):
    finding = check_writable_folder("KV volume", tmp_path / "none", ContainerUser(10001, 10001), made_by_up=True)
    assert finding.verdict is CheckStatus.NOTE
    assert "install -d -o 10001 -g 10001" in finding.advice


def test_a_folder_of_somebody_else_is_bad_with_the_command_that_gives_it_away(tmp_path):
    finding = check_writable_folder("KV volume", tmp_path, ContainerUser(os.getuid() + 1, os.getgid() + 1))
    assert finding.verdict is CheckStatus.BAD
    assert finding.advice == f"sudo chown -R {os.getuid() + 1}:{os.getgid() + 1} {tmp_path}"


def test_a_folder_inside_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "arena").mkdir(mode=0o500)
    finding = check_writable_folder("KV volume", tmp_path, ContainerUser(os.getuid(), os.getgid()), inner=("arena",))
    assert str(tmp_path / "arena") in finding.fact


def test_who_may_write_is_not_guessed_where_docker_maps_users(env):
    rootless = docker_engine.DockerInfo.model_validate({"SecurityOptions": ["name=rootless"]})
    assert compose_doctor.volume({**env, "ARENA_UID": "9"}, rootless).verdict is CheckStatus.NOTE


def test_a_user_that_is_no_number_is_a_bad_setting():
    with pytest.raises(ConfigError, match="ARENA_UID=me"):
        ContainerUser.of({"ARENA_UID": "me"})


def test_a_token_file_that_the_containers_cannot_read_is_bad_and_its_content_is_not_told(tmp_path, bad):
    file = tmp_path / "token"
    file.write_text("hf_secret")
    file.chmod(0o000)
    (finding,) = bad(settings={"HF_TOKEN_FILE": str(file)})
    assert finding.subject == "token"
    assert "hf_secret" not in f"{finding}"
    file.chmod(0o400)
    assert check_readable_file("token", file, ContainerUser(os.getuid(), os.getgid())) is None


def test_a_token_file_that_is_not_there_is_bad(bad):
    (finding,) = bad(settings={"HF_TOKEN_FILE": "/none/token"})
    assert finding.fact == "/none/token: No such file or directory"


def test_a_password_file_that_the_page_cannot_read_is_bad(bad, tmp_path):
    file = tmp_path / "password"
    file.write_text("open sesame")
    file.chmod(0o000)
    (finding,) = bad(settings={"UI_PASSWORD_FILE": str(file)})
    assert finding.subject == "password"
    assert "sesame" not in f"{finding}"


def test_a_hub_that_cannot_be_reached_is_a_note(env):
    found, weights = model_access.check_model_access(env, None, offline)
    assert (found[0].verdict, weights) == (CheckStatus.NOTE, None)


@pytest.mark.parametrize("answer", [HubStatus.MISSING, HubStatus.GATED, HubStatus.REJECTED, HubStatus.REFUSED])
def test_every_refusal_of_the_hub_is_bad_with_a_next_step(answer):
    finding = model_access._heard("owner/name", HubAccess(answer))
    assert (finding.verdict, bool(finding.advice)) == (CheckStatus.BAD, True)


def test_a_model_in_the_cache_needs_no_hub(env, tmp_path):
    folder = tmp_path / "hf" / "hub" / "models--owner--name" / "snapshots" / "abc"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(b"x" * 9)
    (finding,), weights = model_access.check_model_access({**env, "MODEL": "owner/name"}, None, offline)
    assert (finding.verdict, weights) == (CheckStatus.GOOD, 9)


def test_a_model_needs_its_companions_too(env):
    found, weights = model_access.check_model_access({**env, "MODEL": "ultravox-v0_5-llama-3_2-1b"}, None, offline)
    asked = " ".join(finding.fact for finding in found)
    assert all(name in asked for name in ("fixie-ai/ultravox", "meta-llama/Llama-3.2-1B-Instruct", "openai/whisper"))
    assert weights is None


def test_a_word_that_is_no_model_is_bad_with_the_nearest_name(bad):
    (finding,) = bad(settings={"MODEL": "llava-1.5"})
    assert "did you mean llava-1.5-7b-hf?" in finding.advice


@pytest.mark.parametrize("cpu", [False, True])
def test_results_that_containers_cannot_write_are_told_before_the_start(bad, tmp_path, cpu):
    (tmp_path / "results").mkdir()
    stranger = {"ARENA_UID": str(os.getuid() + 1), "RESULTS_DIR": str(tmp_path / "results")}
    found = compose_doctor.results({**stranger, "ARENA_GID": "9999"}, None)
    assert found.advice == f"sudo chown -R {stranger['ARENA_UID']}:9999 {tmp_path / 'results'}"
    assert found.verdict is (CheckStatus.BAD if os.getuid() == 0 else CheckStatus.NOTE)
    if os.getuid() == 0:
        assert "results" in {each.subject for each in bad(cpu=cpu, settings=stranger)}


def test_a_key_that_containers_cannot_read_is_told_before_the_start(tmp_path):
    (tmp_path / "kv.key").touch(mode=0o600)
    tmp_path.chmod(0o777)
    env = {"ARENA_UID": str(os.getuid() + 1), "ARENA_GID": "9999", "KV_KEY_DIR": str(tmp_path)}
    assert compose_doctor.key(env, None).verdict is CheckStatus.BAD
    assert compose_doctor.key({**env, "ARENA_UID": str(os.getuid())}, None).verdict is CheckStatus.GOOD


def test_a_folder_that_is_closed_to_its_owner_is_not_given_to_that_owner(tmp_path):
    tmp_path.chmod(0o500)
    advice = check_writable_folder("results", tmp_path, ContainerUser(os.getuid(), os.getgid())).advice
    stranger = check_writable_folder("results", tmp_path, ContainerUser(os.getuid() + 1, 9999)).advice
    assert advice == f"sudo chmod -R u+rwX {tmp_path}"
    assert stranger == f"sudo chown -R {os.getuid() + 1}:9999 {tmp_path} && {advice}"


def test_containers_on_the_cpu_take_only_what_is_made_here(bad):
    assert bad(cpu=True, settings={"MODEL": "SmolLM2-135M-Instruct"}) == ()
    (finding,) = bad(cpu=True, settings={"MODEL": "owner/name"})
    assert "SmolLM2-135M-Instruct" in finding.advice


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"MODEL": "/data/mine"}, "MODEL to /models/mine"),
        ({"MODEL": "/models/../data/mine"}, "MODEL to /models/mine"),
        ({"MODEL": "/models/mine"}, "set MODEL_DIR"),
        ({"MODEL": "/models/mine", "MODEL_DIR": "/none"}, "MODEL_DIR here"),
    ],
)
def test_a_folder_that_containers_cannot_see_is_bad(bad, settings, said):
    (finding,) = bad(settings=settings)
    assert said in finding.advice


def test_a_whole_model_below_the_models_folder_is_good(bad, tmp_path):
    (tmp_path / "mine").mkdir()
    for name in ("config.json", "model.safetensors", "tokenizer.json", "chat_template.jinja"):
        (tmp_path / "mine" / name).write_text("{}")
    assert bad(settings={"MODEL": "/models/mine", "MODEL_DIR": str(tmp_path)}) == ()


def test_a_disk_too_small_for_the_model_is_bad(tmp_path):
    (finding,) = model_access._download(tmp_path, HubAccess(HubStatus.OPEN, weights=2**60))
    assert "LOCAL_HF_HOME" in finding.advice


def test_names_and_defaults_are_those_of_the_compose_files():
    gpu, cpu = ((ROOT / f"docker-compose{kind}.yml").read_text() for kind in ("", ".cpu"))
    assert f"MODEL:-{model_access.MODEL}}}" in gpu
    assert all(f"image: {name}:" in gpu for name in docker_engine.IMAGES[False])
    assert f"image: {docker_engine.IMAGES[True][0]}:" in cpu
    assert all(f"{name}:-{index}}}" in gpu for name, index in gpus.DEFAULTS.items())
