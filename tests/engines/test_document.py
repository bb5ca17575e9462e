import pytest

from engines.document import HANDBOOK, LIMIT_BYTES, read_document
from engines.errors import DocumentError
from engines.prompt import Prompt, new_nonce


def test_the_handbook_is_a_document():
    assert "FFmpeg" in read_document(HANDBOOK)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_text_is_read_in_its_encoding(tmp_path, encoding):
    path = tmp_path / "a.txt"
    path.write_text("Größe", encoding=encoding)
    assert read_document(path) == "Größe"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"\x89PNG\r\n\x1a\n\xff", "not text"),
        (b"a\0b", "not text"),
        (b" \n", "empty"),
        (b"x" * (LIMIT_BYTES + 1), "limit"),
    ],
)
def test_what_is_no_usable_text_is_refused_with_the_reason(tmp_path, content, said):
    path = tmp_path / "document"
    path.write_bytes(content)
    with pytest.raises(DocumentError, match=said):
        read_document(path)


def test_a_missing_file_is_an_error_of_ours(tmp_path):
    with pytest.raises(DocumentError, match="cannot be read"):
        read_document(tmp_path / "none.txt")


@pytest.mark.parametrize("question", ["", "  \n"])
def test_an_empty_question_is_refused(question):
    with pytest.raises(DocumentError, match="empty"):
        Prompt(question)


def test_the_nonce_opens_the_prompt_and_the_question_ends_it():
    messages = Prompt("Why?", "A document.", "n0nce").messages
    assert messages[0]["content"].startswith("n0nce ")
    assert messages[0]["content"].endswith("A document.")
    assert messages[-1] == {"role": "user", "content": "Why?"}


def test_nonces_do_not_repeat():
    assert len({new_nonce() for _ in range(1000)}) == 1000
