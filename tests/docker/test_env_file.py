"""What Docker Compose itself makes of the files of settings that config/env_file.py is tested with."""

import json
import os
import subprocess

import pytest
from docker.test_config import DOCKER_CONFIG, compose_is_here
from env_cases import ENVIRON, REFUSED, SAME, UNSET

pytestmark = pytest.mark.skipif(not compose_is_here(), reason="docker compose is not installed")


def compose(folder, services, env_file="/dev/null"):
    (folder / "docker-compose.yml").write_text(json.dumps({"services": services}))
    command = ["docker", "compose", "--env-file", env_file, "config", "--format", "json"]
    env = {"PATH": os.environ["PATH"], "DOCKER_CONFIG": DOCKER_CONFIG, **ENVIRON}
    return subprocess.run(command, env=env, cwd=folder, capture_output=True, timeout=120)


def test_compose_reads_the_same(tmp_path):
    """One file a service, as its `env_file`: Compose has one reader for these and for `.env`."""
    for number, (content, _) in enumerate(SAME):
        (tmp_path / f"{number}.env").write_bytes(content)
    services = {f"of-{n}": {"image": "none", "env_file": [f"{n}.env"]} for n in range(len(SAME))}
    done = compose(tmp_path, services)
    assert done.returncode == 0, done.stderr
    read = json.loads(done.stdout)["services"]
    said = [(read[f"of-{n}"].get("environment") or {}).get("V", UNSET) for n in range(len(SAME))]
    expected = [value.replace("$", "$$") for _, value in SAME]  # as Compose writes a dollar sign
    assert [(case, got) for case, got, want in zip(SAME, said, expected, strict=True) if got != want] == []


def test_a_value_of_the_projects_own_file_is_what_compose_interpolates(tmp_path):
    (tmp_path / "settings.env").write_text("V=${HOME}/pa$$word\n")
    done = compose(tmp_path, {"only": {"image": "none", "environment": {"V": "${V}"}}}, "settings.env")
    assert json.loads(done.stdout)["services"]["only"]["environment"]["V"] == "/h/pa$$word"


@pytest.mark.parametrize("content", REFUSED, ids=repr)
def test_compose_refuses_the_same(tmp_path, content):
    (tmp_path / "refused.env").write_bytes(content)
    assert compose(tmp_path, {"only": {"image": "none", "env_file": ["refused.env"]}}).returncode != 0
