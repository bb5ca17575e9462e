import re
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import settings as settings_of_hypothesis
from hypothesis import strategies as st

from config.errors import ConfigError
from config.paths import ROOT
from config.settings import EMBEDDED_MODEL, SETTING_NAMES, Settings, load_settings


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
    settings, unknown = load_settings({"ARENA_HOME": str(tmp_path)}, dotenv)
    assert (settings.ui_port, unknown) == (7001, ("UI_PROT",))


def test_the_environment_goes_before_the_file_and_an_empty_value_is_the_default(tmp_path):
    """As Compose has it."""
    dotenv = tmp_path / ".env"
    dotenv.write_text("UI_PORT=7001\nENGINES=2\n")
    settings, _ = load_settings({"ARENA_HOME": str(tmp_path), "UI_PORT": "7002", "ENGINES": ""}, dotenv)
    assert (settings.ui_port, settings.engines) == (7002, 4)


def test_a_variable_in_the_file_is_replaced_and_a_dollar_sign_of_a_password_stays(tmp_path):
    (tmp_path / ".env").write_text("KV_STORE_DIR=${HOME}/kv\nUI_PASSWORD=pa$$word1\nUI_USERNAME='a$b'\n")
    settings, unknown = load_settings({"ARENA_HOME": str(tmp_path), "HOME": "/home/me"}, tmp_path / ".env")
    assert str(settings.kv_store_dir) == "/home/me/kv"
    assert (settings.ui_password.get_secret_value(), settings.ui_username, unknown) == ("pa$word1", "a$b", ())


def test_keys_that_others_name_and_those_of_docker_are_not_strange(tmp_path):
    (tmp_path / ".env").write_text("BASE=/data\nKV_STORE_DIR=$BASE/kv\nCOMPOSE_PROJECT_NAME=mine\nUI_PROT=1\n")
    assert load_settings({"ARENA_HOME": str(tmp_path)}, tmp_path / ".env")[1] == ("UI_PROT",)


@pytest.mark.parametrize("key", SETTING_NAMES)
@pytest.mark.parametrize("value", ["a\r", "a\nb", "\x1b[31m", "\udcff"])
def test_a_control_character_is_refused_and_not_shown(key, value):
    with pytest.raises(ConfigError, match=key) as refused:
        Settings.from_env({key: value})
    assert value not in str(refused.value)


@settings_of_hypothesis(max_examples=150, deadline=None)
@given(st.sampled_from(SETTING_NAMES), st.text(max_size=40))
def test_no_value_raises_anything_else(key, value):
    with suppress(ConfigError):
        Settings.from_env({key: value})


def test_a_long_value_is_cut_in_the_message():
    with pytest.raises(ConfigError) as refused:
        Settings.from_env({"UI_PORT": "9" * 100_000})
    assert len(str(refused.value)) < 1000


def test_a_file_that_is_not_text_is_named(tmp_path):
    dotenv = tmp_path / ".env"
    dotenv.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match=r"\.env"):
        load_settings({"ARENA_HOME": str(tmp_path)}, dotenv)


def test_the_token_is_never_printed_and_never_handed_on():
    settings = Settings.from_env({"HF_TOKEN": "hf_secret"})
    assert "hf_secret" not in repr(settings)
    assert "HF_TOKEN" not in settings.to_env()


def test_what_a_child_reads_back_is_the_same(tmp_path):
    settings = Settings.from_env({"ARENA_HOME": str(tmp_path), "ENGINES": "2", "KV_CACHE_MEMORY_GB": "0.25"})
    assert Settings.from_env(settings.to_env()) == settings


def test_ports_that_overlap_are_refused():
    with pytest.raises(ConfigError, match="overlap"):
        Settings.from_env({"ENGINE_PORT": "7858"})


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
