"""What Docker Compose itself makes of the files of settings that engines/env_file.py is tested with."""

import json
import os
import subprocess

import pytest
from docker.test_config import DOCKER_CONFIG, compose_is_here
from env_cases import ENVIRON, REFUSED, SAME, UNSET

pytestmark = pytest.mark.skipif(not compose_is_here(), reason="docker compose is not installed")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("compose")
    service = {"image": "none", "environment": {"V": f"${{V-{UNSET}}}"}}
    (folder / "docker-compose.yml").write_text(json.dumps({"services": {"only": service}}))
    return folder


def compose(folder, content):
    (folder / "settings.env").write_bytes(content)
    command = ["docker", "compose", "--env-file", "settings.env", "config", "--format", "json"]
    env = {"PATH": os.environ["PATH"], "DOCKER_CONFIG": DOCKER_CONFIG, **ENVIRON}
    return subprocess.run(command, env=env, cwd=folder, capture_output=True)


@pytest.mark.parametrize(("content", "value"), SAME)
def test_compose_reads_the_same(folder, content, value):
    done = compose(folder, content)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)["services"]["only"]["environment"]["V"]
    assert said.replace("$$", "$") == value  # as Compose writes a dollar sign


@pytest.mark.parametrize("content", REFUSED, ids=repr)
def test_compose_refuses_the_same(folder, content):
    assert compose(folder, content).returncode != 0
