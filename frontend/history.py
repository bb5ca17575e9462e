"""Every question of a visit to every engine as a row, and the rows as CSV and JSON."""

from __future__ import annotations

import csv
import io
import json
import time
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from client.prompt import Prompt
from client.reply import Reply
from frontend.race import Pane

ROWS = 10_000  # of one person; the oldest go
FORMULA = ("=", "+", "-", "@", "\t", "\r")  # what a spreadsheet would run


@dataclass(frozen=True, slots=True)
class HistoryRow:
    """One question to one engine. `reason` says why it has no whole answer."""

    number: int
    at: datetime  # when the request was sent
    question: str
    context: str  # the document's name
    engine: str
    nonce: str
    max_tokens: int
    temperature: float
    seed: int
    turns: int  # before the question
    media: tuple[str, ...]  # "image cat.png"
    modality: str  # of the first of them
    text: str  # of the answer, as far as it came
    reply: Reply | None  # without its inter-token latencies, which would be most of a row
    mean_itl: float | None  # seconds
    reason: str

    def to_json(self) -> dict[str, Any]:
        """The field names and units of a bench's sample, which are those of `vllm bench serve`."""
        measured = self.reply.to_json() if self.reply else {"engine": self.engine, "text": self.text}
        measured.pop("itls", None)
        return {
            "arm": "page",
            "input_len": self.reply.usage.prompt_tokens if self.reply else 0,
            "date": self.at.isoformat(timespec="milliseconds"),
            "nonce": self.nonce,
            "reason": self.reason,
            "valid": not self.reason,
            "question": self.question,
            "context": self.context,
            "modality": self.modality,
            "media": list(self.media),
            "turns": self.turns,
            "max_tokens": self.max_tokens,
            "temperature": self.temperature,
            "seed": self.seed,
            **measured,
            "mean_itl_ms": None if self.mean_itl is None else self.mean_itl * 1e3,
        }


@dataclass(eq=False)
class History:
    """Rows, oldest first."""

    rows: deque[HistoryRow] = field(default_factory=lambda: deque(maxlen=ROWS))
    count: int = 0

    def add(self, pane: Pane, context: str) -> None:
        """A pane that came to its end."""
        if pane.prompt:
            self.count += 1
            self.rows.append(_row(self.count, pane, pane.prompt, context))

    def take(self, other: History) -> None:
        """The rows of another, after one's own."""
        for row in other.rows:
            self.count += 1
            self.rows.append(replace(row, number=self.count))

    def page(self, number: int, size: int) -> list[HistoryRow]:
        """Newest first; page 0 has the newest."""
        last = len(self.rows) - number * size
        return [self.rows[index] for index in range(last - 1, max(-1, last - 1 - size), -1)]


def _row(number: int, pane: Pane, prompt: Prompt, context: str) -> HistoryRow:
    reply = pane.reply
    return HistoryRow(
        number=number,
        at=datetime.fromtimestamp(pane.sent or time.time(), UTC),
        question=prompt.question,
        context=context,
        engine=pane.engine,
        nonce=prompt.nonce,
        max_tokens=prompt.max_tokens,
        temperature=prompt.temperature,
        seed=prompt.seed,
        turns=len(prompt.turns),
        media=tuple(f"{each.modality} {each.name}" for each in prompt.media),
        modality=prompt.media[0].modality if prompt.media else "",
        text=pane.text,
        reply=reply and replace(reply, itl=(), logprobs=()),
        mean_itl=reply.mean_itl if reply else None,
        reason=pane.fault,
    )


def history_json(rows: Sequence[HistoryRow], model: str) -> str:
    """The rows as `samples`, in the frame that results of the bench share, as far as a visit has it."""
    return json.dumps({**_frame(rows, model), "samples": list(_samples(rows))}, indent=1)


def history_csv(rows: Sequence[HistoryRow]) -> str:
    """One line a row; lists and objects stand as JSON. What a spreadsheet would take for a formula is quoted."""
    flat = [{key: _cell(value) for key, value in sample.items()} for sample in _samples(rows)]
    names = list(dict.fromkeys(name for row in flat for name in row))
    file = io.StringIO()
    writer = csv.DictWriter(file, names)
    writer.writeheader()
    writer.writerows(flat)
    return file.getvalue()


def _samples(rows: Sequence[HistoryRow]) -> Iterator[dict[str, Any]]:
    """A document is what one nonce opens; positions count the questions about it, seconds from the first request on."""
    documents = {nonce: number for number, nonce in enumerate(dict.fromkeys(row.nonce for row in rows))}
    began = min((row.at for row in rows), default=None)
    asked = Counter[str]()
    for row in rows:
        started_s = round((row.at - (began or row.at)).total_seconds(), 3)
        yield {
            "document": documents[row.nonce],
            "position": asked[row.nonce],
            "started_s": started_s,
            **row.to_json(),
        }
        asked[row.nonce] += 1


def _frame(rows: Sequence[HistoryRow], model: str) -> dict[str, Any]:
    now = datetime.now(UTC)
    counted = sum(not row.reason for row in rows)
    return {
        "schema": 1,
        "kind": "page",
        "date": now.isoformat(timespec="seconds"),
        "run_id": f"page-{now:%Y%m%d-%H%M%S}",
        "complete": True,
        "command": "",
        "label": None,
        "metadata": {},
        "endpoint_type": "openai-chat",
        "backend": "openai-chat",
        "model_id": Path(model).name if Path(model).is_absolute() else model,
        "tokenizer_id": model,
        "num_prompts": len({row.nonce for row in rows}),
        "completed": counted,
        "failed": len(rows) - counted,
        "warnings": ["questions of a visit to the page: no plan, no warm-up, no repetitions"],
    }


def _cell(value: object) -> object:
    if isinstance(value, dict | list | tuple):
        return json.dumps(value)
    if isinstance(value, str) and value.startswith(FORMULA):
        return f"'{value}"
    return value
