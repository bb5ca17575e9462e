"""Every question of a visit to every engine as a row, and the rows as CSV and JSON."""

from __future__ import annotations

import csv
import io
import json
import time
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from engines.prompt import Prompt
from engines.reply import Reply
from frontend.race import Pane

ROWS = 10_000  # of one person; the oldest go
FORMULA = ("=", "+", "-", "@", "\t", "\r")  # what a spreadsheet would run


@dataclass(frozen=True, slots=True)
class Row:
    """One question to one engine. `reason` says why it has no whole answer."""

    number: int
    at: datetime
    started_s: float  # since the history began
    question: str
    context: str  # the document's name
    engine: str
    nonce: str
    max_tokens: int
    temperature: float
    seed: int
    turns: int  # before the question
    media: tuple[str, ...]  # "image cat.png"
    reply: Reply | None
    reason: str

    def to_json(self) -> dict[str, Any]:
        """The field names and units of a bench's sample, which are those of `vllm bench serve`."""
        measured = self.reply.to_json() if self.reply else {"engine": self.engine}
        return {
            "document": self.number,
            "arm": "page",
            "date": self.at.isoformat(timespec="milliseconds"),
            "started_s": round(self.started_s, 3),
            "nonce": self.nonce,
            "reason": self.reason,
            "valid": not self.reason,
            "question": self.question,
            "context": self.context,
            "media": list(self.media),
            "turns": self.turns,
            "max_tokens": self.max_tokens,
            "temperature": self.temperature,
            "seed": self.seed,
            **measured,
        }


@dataclass(eq=False)
class History:
    """Rows, oldest first."""

    rows: deque[Row] = field(default_factory=lambda: deque(maxlen=ROWS))
    count: int = 0
    began: float = field(default_factory=time.monotonic)

    def add(self, pane: Pane, context: str) -> None:
        """A pane that came to its end."""
        if pane.prompt is None:
            return
        self.count += 1
        self.rows.append(_row(self.count, time.monotonic() - self.began, pane, pane.prompt, context))

    def page(self, number: int, size: int) -> list[Row]:
        """Newest first; page 0 has the newest."""
        last = len(self.rows) - number * size
        return [self.rows[index] for index in range(last - 1, max(-1, last - 1 - size), -1)]


def _row(number: int, started_s: float, pane: Pane, prompt: Prompt, context: str) -> Row:
    media = tuple(f"{each.modality} {each.name}" for each in prompt.media)
    return Row(
        number=number,
        at=datetime.now(UTC),
        started_s=started_s,
        question=prompt.question,
        context=context,
        engine=pane.engine,
        nonce=prompt.nonce,
        max_tokens=prompt.max_tokens,
        temperature=prompt.temperature,
        seed=prompt.seed,
        turns=len(prompt.turns),
        media=media,
        reply=pane.reply,
        reason=pane.fault,
    )


def as_json(rows: Iterable[Row]) -> str:
    """One object with the rows as `samples`, as a result of the bench has them."""
    return json.dumps({"schema": 1, "kind": "page", "samples": [row.to_json() for row in rows]}, indent=1)


def as_csv(rows: Iterable[Row]) -> str:
    """One line a row; lists and objects stand as JSON. What a spreadsheet would take for a formula is quoted."""
    flat = [{key: _cell(value) for key, value in row.to_json().items()} for row in rows]
    names = list(dict.fromkeys(name for row in flat for name in row))
    file = io.StringIO()
    writer = csv.DictWriter(file, names)
    writer.writeheader()
    writer.writerows(flat)
    return file.getvalue()


def _cell(value: object) -> object:
    if isinstance(value, dict | list | tuple):
        return json.dumps(value)
    if isinstance(value, str) and value.startswith(FORMULA):
        return f"'{value}"
    return value
