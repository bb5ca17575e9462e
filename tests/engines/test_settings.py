import re

import pytest

from engines.errors import ConfigError
from engines.settings import EMBEDDED_MODEL, ROOT, Settings, read_env, running


def test_an_empty_environment_is_a_runnable_stack():
    settings = Settings.from_env({})
    assert settings.model == str(ROOT / ".arena" / "models" / EMBEDDED_MODEL)
    assert settings.engines == 4
    assert settings.kv_store_dir == ROOT / ".arena" / "kv"


def test_what_the_arena_makes_follows_arena_home(tmp_path):
    settings = Settings.from_env({"ARENA_HOME": str(tmp_path)})
    assert settings.kv_store_dir == tmp_path / "kv"
    assert settings.kv_key_file == tmp_path / "kv.key"


def test_an_empty_value_is_the_default():
    assert Settings.from_env({"UI_PORT": ""}).ui_port == 7860


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("UI_PORT", "http"),
        ("UI_PORT", "70000"),
        ("ENGINES", "3"),
        ("L1_SIZE_GB", "-1"),
        ("DEVICE", "tpu"),
        ("KV_CACHE_MEMORY_GB", "much"),
        ("ENGINE_URL", "http://{host}:1"),
        ("CACHE_URL", "http://{"),
        ("ENGINE_URL", "host:{port}"),
        ("ENGINE_URL", "http://{name}:{port}/{name.nothing}"),
        ("CACHE_URL", "ftp://{name}:{port}"),
        ("ENGINE_URL", "http://:{port}"),
        ("ENGINE_URL", "http://a host:{port}"),
        ("KV_STORE_DIR", "~nobody-here/kv"),
        ("MODEL_REVISION", "main"),
        ("MODEL_REVISION", "B95BEC8AB291EEB04B5CD600DD473377F6B79026"),
        ("ALLOWED_MEDIA_DOMAINS", "https://example.org"),
    ],
)
def test_a_bad_value_is_named_with_its_key(key, value):
    with pytest.raises(ConfigError, match=re.escape(f"{key}={value}")):
        Settings.from_env({key: value})


def test_a_key_of_the_file_that_means_nothing_is_reported(tmp_path):
    dotenv = tmp_path / ".env"
    dotenv.write_text("UI_PORT=7001\nUI_PROT=7002\n")
    settings, unknown = read_env({"ARENA_HOME": str(tmp_path)}, dotenv)
    assert (settings.ui_port, unknown) == (7001, ("UI_PROT",))


def test_the_environment_goes_before_the_file_unless_it_is_empty(tmp_path):
    dotenv = tmp_path / ".env"
    dotenv.write_text("UI_PORT=7001\nENGINES=2\n")
    settings, _ = read_env({"ARENA_HOME": str(tmp_path), "UI_PORT": "7002", "ENGINES": ""}, dotenv)
    assert (settings.ui_port, settings.engines) == (7002, 2)


def test_a_file_that_is_not_text_is_named(tmp_path):
    dotenv = tmp_path / ".env"
    dotenv.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match=r"\.env"):
        read_env({"ARENA_HOME": str(tmp_path)}, dotenv)


def test_the_token_is_never_printed_and_never_handed_on():
    settings = Settings.from_env({"HF_TOKEN": "hf_secret"})
    assert "hf_secret" not in repr(settings)
    assert "HF_TOKEN" not in settings.to_env()


def test_what_a_child_reads_back_is_the_same(tmp_path):
    settings = Settings.from_env({"ARENA_HOME": str(tmp_path), "ENGINES": "2", "KV_CACHE_MEMORY_GB": "0.25"})
    assert Settings.from_env(settings.to_env()) == settings


def test_a_running_stack_goes_before_the_file_and_after_the_environment(tmp_path):
    started = running({"ARENA_HOME": str(tmp_path)})
    started.parent.mkdir()
    started.write_text('{"UI_PORT": "7003", "ENGINES": "2"}')
    (tmp_path / ".env").write_text("UI_PORT=7001\n")
    settings, _ = read_env({"ARENA_HOME": str(tmp_path), "ENGINES": "4"}, tmp_path / ".env")
    assert (settings.ui_port, settings.engines) == (7003, 4)


def test_ports_that_overlap_are_refused():
    with pytest.raises(ConfigError, match="overlap"):
        Settings.from_env({"ENGINE_PORT": "7858"})


def test_a_damaged_record_of_a_running_stack_is_as_none(tmp_path):
    started = running({"ARENA_HOME": str(tmp_path)})
    started.parent.mkdir()
    started.write_text('{"UI_PORT": "70')
    assert read_env({"ARENA_HOME": str(tmp_path)}, tmp_path / ".env")[0].ui_port == 7860


def test_hosts_that_media_may_come_from_are_named_with_commas():
    assert Settings.from_env({"ALLOWED_MEDIA_DOMAINS": "a.org,Media.b.org"}).media_domains == ("a.org", "media.b.org")
    assert Settings.from_env({}).media_domains == ()
    for bad in ("http://a.org", "a.org:80", "a.org, b.org"):
        with pytest.raises(ConfigError, match="ALLOWED_MEDIA_DOMAINS"):
            Settings.from_env({"ALLOWED_MEDIA_DOMAINS": bad})


@pytest.mark.parametrize("end", ["", "/", "/v1", "/v1/"])
def test_the_address_of_engines_is_taken_as_base_url_is(end):
    settings = Settings.from_env(
        {"ENGINE_URL": f"http://{{name}}:{{port}}{end}", "CACHE_URL": f"http://h:{{port}}{end}"}
    )
    assert (settings.engine_url, settings.cache_url) == ("http://{name}:{port}", "http://h:{port}")
