import io

import pytest
from pypdf import PdfWriter
from pypdf.generic import DecodedStreamObject, DictionaryObject, NameObject

from engines.document import read_document
from engines.errors import DocumentError
from engines.pdf import LIMIT_BYTES, LIMIT_CHARACTERS, LIMIT_PAGES


def a_pdf(path, text="A canal was dug.", pages=1, password=""):
    writer = PdfWriter()
    for _ in range(pages):
        page = writer.add_blank_page(200, 200)
        font = DictionaryObject(
            {
                NameObject("/Type"): NameObject("/Font"),
                NameObject("/Subtype"): NameObject("/Type1"),
                NameObject("/BaseFont"): NameObject("/Helvetica"),
            }
        )
        fonts = DictionaryObject({NameObject("/F1"): writer._add_object(font)})
        page[NameObject("/Resources")] = DictionaryObject({NameObject("/Font"): fonts})
        content = DecodedStreamObject()
        content.set_data(f"BT /F1 12 Tf 10 100 Td ({text}) Tj ET".encode() if text else b"")
        page[NameObject("/Contents")] = writer._add_object(content)
    if password:
        writer.encrypt(password, algorithm="RC4-128")
    file = io.BytesIO()
    writer.write(file)
    path.write_bytes(file.getvalue())
    return path


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
