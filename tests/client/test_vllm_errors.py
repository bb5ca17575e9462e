import json
from dataclasses import replace

import pytest
from fakes import plain_engine

from client.vllm_errors import refusal_error, rejects_system_role, tokenizer_error
from config.errors import EngineRefused, NotTokenized, RefusalKind

OURS = plain_engine()
OTHER = replace(OURS, name="host:1", ours=False)


def body(message):
    return json.dumps({"error": {"message": message}}).encode()


@pytest.mark.parametrize(
    ("status", "message", "kind"),
    [
        (400, "At most 1 image(s) may be provided in one prompt.", RefusalKind.MEDIA),
        (400, "/models/small is not a multimodal model", RefusalKind.MEDIA),
        (500, "/models/small is not a multimodal model", RefusalKind.OTHER),
        (400, "The URL must be from one of the allowed domains: x", RefusalKind.HOST),
        (400, "System role not supported", RefusalKind.SYSTEM_ROLE),
        (500, "Conversation roles must alternate user/assistant/user", RefusalKind.SYSTEM_ROLE),
        (400, "Unsupported parameter: 'max_tokens' is not supported with this model.", RefusalKind.FIELD),
        (422, "Extra inputs are not permitted: stream_options", RefusalKind.FIELD),
        (400, "max_tokens is too large: 9000. This model's context has 8192 tokens.", RefusalKind.OTHER),
        (404, "The model `x` does not exist.", RefusalKind.OTHER),
    ],
)
def test_the_subject_of_a_refusal_is_read_from_its_status_and_words(status, message, kind):
    error = refusal_error(OTHER, status, body(message))
    assert (error.engine, error.kind, error.status, error.server_text) == ("host:1", kind, status, message)


def test_a_refused_field_is_left_out_by_the_option_and_renamed_where_that_helps():
    hint = refusal_error(OTHER, 400, body("Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens'")).hint
    assert '--extra-body \'{"max_tokens": null, "max_completion_tokens": N}\'' in hint
    assert '{"stream_options": null}' in refusal_error(OTHER, 422, body("stream_options: not permitted")).hint
    assert not refusal_error(OURS, 422, body("stream_options: not permitted")).hint


@pytest.mark.parametrize(
    "error",
    [
        {"error": {"message": "why not"}},
        {"error": "why not"},
        {"message": "why not"},
        {"detail": "why not"},
        {"object": "error", "message": "why not", "code": 40},
        [{"error": {"message": "why not"}}],
    ],
)
def test_the_words_of_every_servers_error_are_found(error):
    assert refusal_error(OTHER, 400, json.dumps(error).encode()).server_text == "why not"


def test_an_answer_without_words_has_those_of_http():
    assert refusal_error(OTHER, 502, b"", "Bad Gateway").server_text == "Bad Gateway"
    assert "https://other/" in refusal_error(OTHER, 301, b"<html>", "Moved", "https://other/").server_text


@pytest.mark.parametrize("status", [200, 302, 400, 401, 404, 422, 500])
def test_a_refusal_without_words_has_its_status(status):
    error = refusal_error(OURS, status, b"{}")
    assert (error.status, error.engine) == (status, "plain-a")


@pytest.mark.parametrize(
    ("status", "message", "error"),
    [
        (400, "At most 1 image(s) may be provided in one prompt.", EngineRefused),
        (503, "busy", EngineRefused),
        (401, "no key", EngineRefused),
        (404, "no such path", NotTokenized),
    ],
)
def test_the_tokenizer_refuses_a_text_or_media(status, message, error):
    assert type(tokenizer_error(OURS, status, body(message))) is error


@pytest.mark.parametrize(
    ("status", "kind", "retry"),
    [(400, "other", True), (400, "media", False), (500, "system role", True), (404, "other", False)],
)
def test_another_form_is_tried_for_a_bad_request_and_for_a_template_without_a_system_role(status, kind, retry):
    assert rejects_system_role(EngineRefused("plain-a", "no", status=status, kind=RefusalKind(kind))) is retry
