import re
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import settings as settings_of_hypothesis
from hypothesis import strategies as st

from config.errors import ConfigError
from config.paths import ROOT
from config.settings import SETTING_NAMES, STAND_IN_MODEL, Settings, load_settings
from config.topology import Topology


@pytest.fixture
def load(tmp_path):
    """Loads the settings of a `.env` with this content, under an environment."""

    def load(content, **environ):
        (tmp_path / ".env").write_bytes(content.encode("latin-1"))
        return load_settings({"ARENA_HOME": str(tmp_path), **environ}, tmp_path / ".env")

    return load


def test_an_empty_environment_is_a_runnable_stack():
    settings = Settings.from_env({"UI_PORT": ""})
    assert settings.model == str(ROOT / ".arena" / "models" / STAND_IN_MODEL)
    assert (settings.engines, settings.ui_port, settings.kv_store_dir) == (4, 7860, ROOT / ".arena" / "kv")


def test_what_the_arena_makes_follows_arena_home(tmp_path):
    settings = Settings.from_env({"ARENA_HOME": str(tmp_path)})
    assert (settings.kv_store_dir, settings.kv_key_file) == (tmp_path / "kv", tmp_path / "kv.key")


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
        ("ALLOWED_MEDIA_DOMAINS", "a.org:80"),
        ("ALLOWED_MEDIA_DOMAINS", "a.org, b.org"),
    ],
)
def test_a_bad_value_is_named_with_its_key(key, value):
    with pytest.raises(ConfigError, match=re.escape(f"{key}={value}")):
        Settings.from_env({key: value})


def test_the_environment_overrides_the_file_and_an_empty_value_is_the_default_as_in_compose(load):
    settings, _ = load("UI_PORT=7001\nENGINES=2\n", UI_PORT="7002", ENGINES="")
    assert (settings.ui_port, settings.engines) == (7002, 4)


def test_variables_in_the_file_are_replaced_and_a_dollar_sign_of_a_password_stays(load):
    settings, _ = load("KV_STORE_DIR=${HOME}/kv\nUI_PASSWORD=pa$$word1\nUI_USERNAME='a$b'\n", HOME="/home/me")
    assert str(settings.kv_store_dir) == "/home/me/kv"
    assert (settings.ui_password.get_secret_value(), settings.ui_username) == ("pa$word1", "a$b")


def test_keys_of_the_file_are_unknown_unless_others_name_them_or_they_are_dockers(load):
    assert load("BASE=/data\nKV_STORE_DIR=$BASE/kv\nCOMPOSE_PROJECT_NAME=mine\nUI_PROT=1\n")[1] == ("UI_PROT",)


def test_a_file_that_is_not_text_is_named(load):
    with pytest.raises(ConfigError, match=r"\.env"):
        load("\xff\xfe\x00")


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


@pytest.mark.parametrize(
    ("given", "sizes"),
    [
        ({}, (64, 32)),
        ({"DEVICE": "cpu", "CHUNK_SIZE": "", "BLOCK_SIZE": ""}, (64, 32)),
        ({"DEVICE": "cuda"}, (256, 0)),
        ({"CHUNK_SIZE": "256"}, (256, 32)),
        ({"DEVICE": "cuda", "CHUNK_SIZE": "64", "BLOCK_SIZE": "16"}, (64, 16)),
        ({"CHUNK_SIZE": "128", "BLOCK_SIZE": "0"}, (128, 0)),
        ({"CHUNK_SIZE": "65536", "BLOCK_SIZE": "65536"}, (65536, 65536)),
    ],
)
def test_sizes_of_chunks_and_blocks_that_are_not_chosen_depend_on_the_device(given, sizes):
    settings = Settings.from_env(given)
    assert (settings.chunk_size, settings.block_size) == sizes
    assert {engine.chunk_size for engine in Topology.of(settings).engines} == {sizes[0]}


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"CHUNK_SIZE": "96", "BLOCK_SIZE": "64"}, "CHUNK_SIZE=96 with BLOCK_SIZE=64.*multiple"),
        ({"CHUNK_SIZE": "48"}, "CHUNK_SIZE=48 with BLOCK_SIZE=32.*multiple"),
        ({"CHUNK_SIZE": "64", "BLOCK_SIZE": "128"}, "CHUNK_SIZE=64 with BLOCK_SIZE=128.*multiple"),
        ({"BLOCK_SIZE": "0"}, "CHUNK_SIZE=64 with BLOCK_SIZE=0.*128 tokens"),
        ({"BLOCK_SIZE": "16"}, "CHUNK_SIZE=64 with BLOCK_SIZE=16.*blocks of 32 tokens"),
        ({"DEVICE": "cuda", "CHUNK_SIZE": "40", "BLOCK_SIZE": "16"}, "CHUNK_SIZE=40 with BLOCK_SIZE=16.*multiple"),
        ({"CHUNK_SIZE": "0"}, "CHUNK_SIZE=0: "),
        ({"CHUNK_SIZE": "65537"}, "CHUNK_SIZE=65537: "),
        ({"BLOCK_SIZE": "-32"}, "BLOCK_SIZE=-32: "),
        ({"CHUNK_SIZE": "a few"}, "CHUNK_SIZE=a few: "),
    ],
)
def test_sizes_that_vllm_or_lmcache_would_refuse_at_their_start_are_refused_with_both_values(given, said):
    with pytest.raises(ConfigError, match=said):
        Settings.from_env(given)


def test_hosts_that_media_may_come_from_are_separated_by_commas():
    assert Settings.from_env({"ALLOWED_MEDIA_DOMAINS": "a.org,Media.b.org"}).media_domains == ("a.org", "media.b.org")
    assert Settings.from_env({}).media_domains == ()


@pytest.mark.parametrize("end", ["", "/", "/v1", "/v1/"])
def test_the_address_of_engines_is_taken_as_base_url_is(end):
    env = {"ENGINE_URL": f"http://{{name}}:{{port}}{end}", "CACHE_URL": f"http://h:{{port}}{end}"}
    settings = Settings.from_env(env)
    assert (settings.engine_url, settings.cache_url) == ("http://{name}:{port}", "http://h:{port}")
