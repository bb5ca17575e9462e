import pytest
from pdfs import a_pdf

from engines.document import read_document
from engines.errors import DocumentError
from engines.pdf import LIMIT_BYTES, LIMIT_CHARACTERS, LIMIT_PAGES


def test_the_text_of_a_pdf_is_read(tmp_path):
    assert "A canal was dug." in read_document(a_pdf(tmp_path / "canal.pdf"))


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"password": "secret"}, "encrypted"),
        ({"text": ""}, "scan"),
        ({"pages": LIMIT_PAGES + 1}, "501 pages"),
        ({"text": "x" * (LIMIT_CHARACTERS + 1)}, "2,097,153 characters"),
    ],
)
def test_a_pdf_without_text_for_us_says_why(tmp_path, given, said):
    with pytest.raises(DocumentError, match=said):
        read_document(a_pdf(tmp_path / "canal.pdf", **given))


def test_a_damaged_pdf_says_so(tmp_path):
    path = a_pdf(tmp_path / "canal.pdf")
    path.write_bytes(path.read_bytes()[:150])
    with pytest.raises(DocumentError, match="damaged"):
        read_document(path)


def test_a_huge_pdf_is_not_even_opened(tmp_path):
    path = tmp_path / "huge.pdf"
    with path.open("wb") as file:
        file.write(b"%PDF-1.7\n")
        file.truncate(LIMIT_BYTES + 1)
    with pytest.raises(DocumentError, match="over the limit"):
        read_document(path)
