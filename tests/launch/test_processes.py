import io
import socket
import stat

import pytest
from rich.console import Console

from cache.lmcache_command import shm_name
from config.settings import Settings
from config.topology import ServiceKind
from engines.vllm_command import PRELOADER
from launch.processes import ROLE_OF_KIND, SHARED_MEMORY, LocalStack, StartProgress, _needs, last_log_line
from launch.stack import expected_services

CALLER = {"PATH": "/bin", "OPENAI_API_KEY": "sk-real", "SECRET_CANARY": "s3cret", "HTTPS_PROXY": "http://proxy:3128"}


def stack(home, **given):
    return LocalStack(home, Settings.from_env({"ARENA_HOME": str(home), **given}), CALLER)


def programs(stack):
    return {each.name: stack._program(each.name, each.kind) for each, _ in expected_services(stack.settings)}


def test_each_service_is_started_with_the_list_and_no_more(tmp_path):
    (tmp_path / "model").mkdir()
    started = programs(stack(tmp_path, MODEL=str(tmp_path / "model"), HF_TOKEN="hf_secret", UI_PASSWORD="pa$$"))
    for program in started.values():
        assert not {"OPENAI_API_KEY", "SECRET_CANARY", "HTTPS_PROXY", "HF_TOKEN", "UI_PASSWORD"} & program.env.keys()
        assert not {"hf_secret", "pa$$"} & set(program.env.values())
    assert {name for name, each in started.items() if "HF_TOKEN_PATH" in each.env} == {
        *("plain-a", "plain-b", "lmcache-a", "lmcache-b")
    }
    assert {name for name, each in started.items() if each.env.get("UI_PASSWORD_FILE")} == {"page"}
    assert {name for name, each in started.items() if "RESTART_COMMAND" in each.env} == {"page"}
    for file in ("hf_token", "ui_password"):
        assert stat.S_IMODE((tmp_path / "run" / file).stat().st_mode) == 0o600


def test_an_engine_reaches_the_outside_through_the_callers_proxy_where_it_fetches_something(tmp_path):
    (tmp_path / "model").mkdir()
    from_hub = programs(stack(tmp_path, MODEL="owner/name"))
    of_media = programs(stack(tmp_path, MODEL=str(tmp_path / "model"), ALLOWED_MEDIA_DOMAINS="a.org"))
    for started in (from_hub, of_media):
        assert started["plain-a"].env["HTTPS_PROXY"] == "http://proxy:3128"
        assert "HTTPS_PROXY" not in {**started["cache-a"].env, **started["page"].env}
    assert "HF_HUB_OFFLINE" not in from_hub["plain-a"].env
    assert of_media["plain-a"].env["HF_HUB_OFFLINE"] == "1"


def test_engines_are_forked_on_a_cpu_only_from_a_process_with_their_own_environment(tmp_path):
    on_cpu, on_gpu = stack(tmp_path, DEVICE="cpu"), stack(tmp_path, DEVICE="cuda")
    engine = programs(on_cpu)["lmcache-b"].env
    preloader = on_cpu._preloader()
    assert preloader.env["OPENBLAS_NUM_THREADS"] == "1"
    assert engine.items() - preloader.env.items() == {(PRELOADER, preloader.argv[3])}
    assert "GLIBC_TUNABLES" in preloader.env  # works from the start of a process only
    others = [programs(on_cpu)[name] for name in ("page", "cache-a")] + list(programs(on_gpu).values())
    assert not [each.name for each in others if PRELOADER in each.env]


def test_the_page_is_started_first_and_lmcache_engines_after_their_cache_servers():
    kinds = {"c": ServiceKind.CACHE, "e": ServiceKind.PLAIN, "l": ServiceKind.LMCACHE, "p": ServiceKind.PAGE}
    assert _needs(kinds) == {"c": ["p"], "e": ["p"], "l": ["c"], "p": []}
    del kinds["p"]
    assert _needs(kinds) == {"c": [], "e": [], "l": ["c"]}


@pytest.mark.parametrize("taken", [True, False])
def test_the_memory_of_another_stack_on_these_ports_is_left_alone(tmp_path, taken):
    with socket.socket() as port:
        port.bind(("127.0.0.1", 0))
        number = port.getsockname()[1]
        ours = stack(tmp_path, CACHE_PORT=str(number - 2))  # cache-a's ZeroMQ side has that port
        memory = SHARED_MEMORY / f"lmcache_l1_pool_{shm_name(ours.topology.caches[0])}"
        memory.touch()
        try:
            if taken:
                port.listen()
            else:
                port.close()
            ours.stop()
            assert memory.exists() is taken
        finally:
            memory.unlink(missing_ok=True)


def test_every_kind_of_service_has_a_role():
    assert set(ROLE_OF_KIND) == set(ServiceKind)


def test_a_log_gets_a_line_about_waiting_now_and_then_and_one_for_each_thing_done():
    out = io.StringIO()
    with StartProgress(Console(file=out)) as progress:
        for second in range(70):
            progress.waiting({"plain-a": None, "plain-b": None}, second)
        progress.done("plain-a is healthy", 70)
    assert out.getvalue().splitlines() == [
        "  waiting for plain-a, plain-b: 30 s",
        "  waiting for plain-a, plain-b: 60 s",
        "  plain-a is healthy after 70 s",
    ]


def test_of_a_dead_services_log_the_last_error_is_shown(tmp_path):
    log = tmp_path / "a.log"
    log.write_text("starting\nRuntimeError: no memory\nbye\n")
    assert last_log_line(log) == "RuntimeError: no memory"
    assert last_log_line(tmp_path / "none.log") == "it wrote nothing"
