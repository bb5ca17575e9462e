import pytest

from config.service_environment import (
    SECRET_SETTINGS,
    VARIABLES_BY_ROLE,
    ServiceRole,
    is_secret,
    service_environment,
    supervisor_environment,
)
from config.settings import SETTING_NAMES, Settings

SECRETS = {
    **dict.fromkeys(("SECRET_CANARY", "OPENAI_API_KEY", "AWS_SECRET_ACCESS_KEY", "HF_TOKEN", "HF_HUB_TOKEN"), "s3cret"),
    **dict.fromkeys(("VLLM_API_KEY", "LMCACHE_RESP_PASSWORD", "UI_PASSWORD"), "s3cret"),
    "LMCACHE_SERVER_URL": "redis://me:s3cret@host",
    "HTTPS_PROXY": "http://me:s3cret@proxy:3128",
}
CALLER = SECRETS | {
    "PATH": "/bin",
    "LC_ALL": "C.UTF-8",
    "SSH_AUTH_SOCK": "/tmp/agent",
    "VLLM_LOGGING_LEVEL": "DEBUG",
    "LMCACHE_LOG_LEVEL": "DEBUG",
    "TOKENIZERS_PARALLELISM": "false",
    "OMP_PROC_BIND": "true",
    "ALL_PROXY": "socks5://127.0.0.1:1",
    "SSL_CERT_FILE": "/etc/ssl/corporate.pem",
    "GRADIO_ROOT_PATH": "/arena",
    "GRADIO_SHARE": "True",
}
SETTINGS = Settings.from_env({"HF_TOKEN": "s3cret", "UI_PASSWORD": "s3cret", "UI_USERNAME": "me"}).to_env()
OUTSIDE = {"HTTPS_PROXY", "ALL_PROXY", "SSL_CERT_FILE"}


def given(role, *, fetches=False):
    return service_environment(role, CALLER, SETTINGS, fetches=fetches)


def test_supervisord_gets_where_things_are_and_nothing_else():
    assert supervisor_environment(CALLER) == {"PATH": "/bin", "LC_ALL": "C.UTF-8"}


@pytest.mark.parametrize("role", ServiceRole)
def test_no_service_gets_a_secret_or_a_way_to_the_outside_that_it_does_not_take(role):
    env = given(role)
    assert not any("s3cret" in value for value in env.values())
    assert not {"ALL_PROXY", "SSH_AUTH_SOCK", *SECRETS, *SECRET_SETTINGS} & env.keys()


def test_what_an_operator_tunes_reaches_the_service_that_reads_it():
    tuned = {"VLLM_LOGGING_LEVEL", "LMCACHE_LOG_LEVEL", "TOKENIZERS_PARALLELISM", "OMP_PROC_BIND"}
    assert tuned <= given(ServiceRole.ENGINE).keys()
    assert tuned & given(ServiceRole.CACHE).keys() == {"LMCACHE_LOG_LEVEL", "OMP_PROC_BIND"}
    assert not {*tuned, "GRADIO_SHARE"} & given(ServiceRole.PAGE).keys()
    assert given(ServiceRole.PAGE)["GRADIO_ROOT_PATH"] == "/arena"


@pytest.mark.parametrize("role", [ServiceRole.ENGINE, ServiceRole.CACHE, ServiceRole.PAGE])
def test_every_service_gets_the_sizes_of_chunks_and_blocks(role):
    assert {"CHUNK_SIZE", "BLOCK_SIZE"} <= given(role).keys()


def test_a_proxy_and_certificates_are_for_an_engine_that_fetches():
    assert given(ServiceRole.ENGINE, fetches=True).keys() >= OUTSIDE
    assert not OUTSIDE & given(ServiceRole.CACHE, fetches=True).keys()


def test_settings_go_to_the_services_that_read_them():
    engine, cache, page = (given(role) for role in (ServiceRole.ENGINE, ServiceRole.CACHE, ServiceRole.PAGE))
    assert not {"UI_USERNAME", "MEDIA_MAX_MB", "KV_KEY_FILE", "L1_SIZE_GB"} & engine.keys()
    assert not {"UI_USERNAME", "MEDIA_MAX_MB", "ALLOWED_MEDIA_DOMAINS", "KV_CACHE_MEMORY_GB"} & cache.keys()
    assert set(SETTING_NAMES) - set(SECRET_SETTINGS) <= page.keys()
    assert {name for needs in VARIABLES_BY_ROLE.values() for name in needs.settings} <= set(SETTING_NAMES)


@pytest.mark.parametrize("name", ["HF_TOKEN", "openai_api_key", "DB_PASSWORD", "X_SECRET", "GOOGLE_CREDENTIALS"])
def test_a_secret_is_known_by_its_name(name):
    assert is_secret(name)
    assert not is_secret("VLLM_LOGGING_LEVEL")
