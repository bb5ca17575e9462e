import pytest

from config.printable import printable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain text,\n\tGröße 👩\u200d🔬", "plain text,\n\tGröße 👩\u200d🔬"),
        ("\x1b[2J\x07", r"\x1b[2J\x07"),
        ("\x9b31m\r", r"\x9b31m\r"),
        ("\u202egnp.exe", r"\u202egnp.exe"),
        ("\ud800", r"\ud800"),
    ],
)
def test_a_terminal_gets_no_order_from_a_text(text, shown):
    assert printable(text) == shown
