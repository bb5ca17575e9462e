import io
import json

import pytest
import requests

from engines import hub
from engines.hub import HubStatus

NAME, TOKEN = "owner/name", "hf_secret"
GATED = {"gated": "auto", "safetensors": {"parameters": {"BF16": 7_241_732_096}}}


def answer(status, body=b""):
    response = requests.Response()
    response.status_code = status
    response.raw = io.BytesIO(body if isinstance(body, bytes) else json.dumps(body).encode())
    return response


class FakeHub:
    """Answers for the model's description and for its config, and keeps what was asked."""

    def __init__(self, about, config=None):
        self.answers, self.asked = [about, config], []

    def __call__(self, url, **options):
        self.asked.append((url, options))
        return self.answers[len(self.asked) - 1]


@pytest.mark.parametrize(
    ("about", "config", "token", "said"),
    [
        (answer(401), None, "", HubStatus.MISSING),
        (answer(404), None, TOKEN, HubStatus.MISSING),
        (answer(401), None, TOKEN, HubStatus.REJECTED),
        (answer(403), None, TOKEN, HubStatus.REFUSED),
        (answer(200, GATED), answer(401), "", HubStatus.GATED),
        (answer(200, GATED), answer(401), TOKEN, HubStatus.REJECTED),
        (answer(200, GATED), answer(403), TOKEN, HubStatus.REFUSED),
        (answer(200, GATED), answer(200), TOKEN, HubStatus.OPEN),
        (answer(503), None, "", HubStatus.UNREACHABLE),
        (answer(200, b"<html>"), None, "", HubStatus.UNREACHABLE),
        (answer(200, b" " * (hub.ANSWER_BYTES + 1)), None, "", HubStatus.UNREACHABLE),
    ],
)
def test_the_hubs_answers_are_told_apart(about, config, token, said):
    assert hub.check_access(NAME, token, get=FakeHub(about, config)).answer is said


def test_a_hub_that_cannot_be_reached_is_told_by_the_kind_of_error():
    def get(*_, **__):
        raise requests.ConnectTimeout(f"Bearer {TOKEN}")

    access = hub.check_access(NAME, TOKEN, get=get)
    assert (access.answer, access.said) == (HubStatus.UNREACHABLE, "ConnectTimeout")


@pytest.mark.parametrize("revision", ["", "a" * 40])
def test_the_token_goes_to_the_hub_alone_for_the_commit_that_is_served_and_waiting_is_bounded(revision):
    fake = FakeHub(answer(200, GATED), answer(302))
    hub.check_access(NAME, TOKEN, revision, get=fake)
    assert fake.asked[1][0] == f"https://huggingface.co/{NAME}/resolve/{revision or 'main'}/config.json"
    for url, options in fake.asked:
        assert url.startswith("https://huggingface.co/")
        assert options["headers"] == {"Authorization": f"Bearer {TOKEN}"}
        assert options["allow_redirects"] is False
        assert options["timeout"]


def test_a_token_that_no_header_takes_is_refused_without_asking():
    fake = FakeHub(answer(200))
    assert hub.check_access(NAME, "two\nlines", get=fake).answer is HubStatus.REJECTED
    assert fake.asked == []


@pytest.mark.parametrize(
    ("parameters", "weights"),
    [({"BF16": 7_241_732_096}, 14_483_464_192), ({"F32": 10, "F8_E4M3": 5}, 25), ({"BF16": 10, "U8": 100}, None)],
)
def test_weights_are_counted_as_they_lie_on_a_gpu_and_packed_ones_not_at_all(parameters, weights):
    about = {"gated": False, "safetensors": {"parameters": parameters}}
    access = hub.check_access(NAME, get=FakeHub(answer(200, about), answer(307)))
    assert (access.answer, access.weights) == (HubStatus.OPEN, weights)


@pytest.fixture
def snapshot(tmp_path):
    folder = tmp_path / "models--owner--name" / "snapshots" / "abc"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text('{"torch_dtype": "bfloat16"}')
    (folder / "model.safetensors").write_bytes(b"x" * 100)
    return folder


def test_a_model_in_the_cache_is_found_when_its_weights_are_there(snapshot, tmp_path):
    assert hub.cached_model(NAME, tmp_path) == snapshot
    assert hub.cached_model(NAME, tmp_path, "abc") == snapshot
    assert hub.cached_model(NAME, tmp_path, "def") is None
    (snapshot / "model.safetensors").unlink()
    assert hub.cached_model(NAME, tmp_path) is None


def test_a_second_copy_of_the_weights_is_not_counted_and_float32_counts_half(snapshot):
    (snapshot / "consolidated.safetensors").write_bytes(b"x" * 100)
    assert hub.weights_bytes(snapshot) == 100
    (snapshot / "config.json").write_text('{"dtype": "float32"}')
    assert hub.weights_bytes(snapshot) == 50
