import pytest
from env_cases import ENVIRON, REFUSED, SAME, STRICTER, UNSET
from hypothesis import given
from hypothesis import strategies as st

from config.env_file import read_env_file
from config.errors import ConfigError

FRAGMENTS = st.sampled_from(["V", "W", "=", ":", "$", "${", "}", "-", "?", "+", "'", '"', "\\", "#", " ", "\n", "\r"])


def values(path, content):
    path.write_bytes(content)
    return read_env_file(path, ENVIRON).values


@pytest.mark.parametrize(("content", "value"), SAME)
def test_a_file_means_what_compose_reads_in_it(tmp_path, content, value):
    assert values(tmp_path / ".env", content).get("V", UNSET) == value


@pytest.mark.parametrize("content", [*REFUSED, *STRICTER], ids=lambda content: repr(content[:20]))
def test_what_cannot_be_read_is_refused_with_its_file(tmp_path, content):
    with pytest.raises(ConfigError) as refused:
        values(tmp_path / ".env", content)
    assert str(tmp_path / ".env") in str(refused.value)


def test_a_fault_is_named_with_its_line_and_without_the_value(tmp_path):
    with pytest.raises(ConfigError, match="line 3") as refused:
        values(tmp_path / ".env", b"# passwords\n\nUI_PASSWORD=pa$word1\n")
    assert "word1" not in str(refused.value)


def test_a_missing_file_is_an_empty_one(tmp_path):
    assert read_env_file(tmp_path / ".env", {}).values == {}


@given(st.one_of(st.binary(max_size=60), st.lists(FRAGMENTS, max_size=30).map(lambda parts: "".join(parts).encode())))
def test_no_file_raises_anything_else(tmp_path_factory, content):
    try:
        found = values(tmp_path_factory.getbasetemp() / "fuzzed.env", content)
    except ConfigError:
        return
    assert all(isinstance(value, str) for value in found.values())
