"""What the documents name is there."""

import re

import pytest

from config.paths import ROOT

DOCUMENTS = [
    path
    for path in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md")))
    if path.name != "decisions.md"  # a log, in the names of its time
]
FOLDERS = "config|media|client|engines|cache|bench|launch|frontend|tests|deploy|requirements|docs"
IN_CODE = re.compile(rf"(?<![\w/.])(?:{FOLDERS})/[\w./-]*\w")


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_files_that_a_document_names_are_there(document):
    text = document.read_text()
    links = {link.partition("#")[0] for link in re.findall(r"\]\(([^)]+)\)", text) if "://" not in link}
    named = {name for name in IN_CODE.findall(re.sub(r"\]\([^)]+\)", "", text)) if "NAME" not in name}
    missing = [link for link in links if link and not (document.parent / link).exists()]
    assert missing + [name for name in named if not (ROOT / name).exists()] == []
