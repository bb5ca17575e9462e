"""One visitor's history: a row for each question to each engine, and its export as CSV and JSON.

The server keeps the rows, not the browser (gr.BrowserState): if a reload stops a question, its row is written after the
browser has disconnected, and 10,000 rows do not fit in a browser's local storage.
"""

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

MAX_ROWS = 10_000  # per visitor; the oldest are dropped
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")  # a spreadsheet would treat such a cell as a formula


@dataclass(frozen=True, slots=True)
class HistoryRow:
    """One question to one engine; `reason` is why it has no complete answer.

    To save memory, a row has neither the prompt's document, media and earlier turns nor the reply's inter-token
    latencies, except for their mean.
    """

    number: int
    at: datetime  # when the request was sent
    engine: str
    prompt: Prompt
    context: str  # the document's name
    turns: int  # before the question
    media: tuple[str, ...]  # "image cat.png"
    text: str  # the answer, which may be incomplete
    reply: Reply | None
    reason: str

    @classmethod
    def of(cls, number: int, pane: Pane, prompt: Prompt, context: str) -> HistoryRow:
        """Returns the row for a pane that has ended."""
        reply = pane.reply
        if reply:
            mean = () if reply.mean_itl is None else (reply.mean_itl,)
            reply = replace(reply, itl=mean, logprobs=())
        return cls(
            number,
            datetime.fromtimestamp(pane.sent or time.time(), UTC),
            pane.engine,
            replace(prompt, document="", media=(), turns=()),
            context,
            len(prompt.turns),
            tuple(f"{each.modality} {each.name}" for each in prompt.media),
            pane.text,
            reply,
            pane.fault,
        )

    def to_json(self) -> dict[str, Any]:
        """Returns the row with the field names and units of a bench's sample, which are those of `vllm bench serve`."""
        measured = self.reply.to_json() if self.reply else {"engine": self.engine, "text": self.text}
        measured.pop("itls", None)
        return {
            "arm": "page",
            "input_len": self.reply.usage.prompt_tokens if self.reply else 0,
            "date": self.at.isoformat(timespec="milliseconds"),
            "nonce": self.prompt.nonce,
            "reason": self.reason,
            "valid": not self.reason,
            "question": self.prompt.question,
            "context": self.context,
            "modality": self.media[0].partition(" ")[0] if self.media else "",
            "media": list(self.media),
            "turns": self.turns,
            "max_tokens": self.prompt.max_tokens,
            "temperature": self.prompt.temperature,
            "seed": self.prompt.seed,
            "mean_itl_ms": None,
            **measured,
        }


@dataclass(eq=False)
class History:
    """One visitor's rows, oldest first."""

    rows: deque[HistoryRow] = field(default_factory=lambda: deque(maxlen=MAX_ROWS))
    count: int = 0

    def add(self, pane: Pane, context: str) -> None:
        """Adds a row for a pane that has ended; a pane that was not asked adds none."""
        if pane.prompt:
            self.count += 1
            self.rows.append(HistoryRow.of(self.count, pane, pane.prompt, context))

    def take(self, other: History) -> None:
        """Appends the rows of another history."""
        for row in other.rows:
            self.count += 1
            self.rows.append(replace(row, number=self.count))

    def page(self, number: int, size: int) -> list[HistoryRow]:
        """Returns `size` rows, newest first; page 0 has the newest."""
        last = len(self.rows) - number * size
        return [self.rows[index] for index in range(last - 1, max(-1, last - 1 - size), -1)]


def history_json(rows: Sequence[HistoryRow], model: str) -> str:
    """Returns the rows as the `samples` of a result like the bench's, with the fields that apply to a visit."""
    now = datetime.now(UTC)
    counted = sum(not row.reason for row in rows)
    content = {
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
        "num_prompts": len({row.prompt.nonce for row in rows}),
        "completed": counted,
        "failed": len(rows) - counted,
        "warnings": ["questions of a visit to the page: no plan, no warm-up, no repetitions"],
        "samples": list(_samples(rows)),
    }
    return json.dumps(content, indent=1)


def history_csv(rows: Sequence[HistoryRow]) -> str:
    """Returns one line per row, with lists and objects as JSON. A quote precedes text that looks like a formula."""
    flat = [{key: _cell(value) for key, value in sample.items()} for sample in _samples(rows)]
    file = io.StringIO()
    writer = csv.DictWriter(file, list(dict.fromkeys(name for row in flat for name in row)))
    writer.writeheader()
    writer.writerows(flat)
    return file.getvalue()


def _samples(rows: Sequence[HistoryRow]) -> Iterator[dict[str, Any]]:
    """Yields the samples. `document` numbers the nonces, `position` the questions with one nonce; `started_s` counts
    seconds from the first row."""
    documents = {nonce: number for number, nonce in enumerate(dict.fromkeys(row.prompt.nonce for row in rows))}
    began = min((row.at for row in rows), default=None)
    asked = Counter[str]()
    for row in rows:
        nonce = row.prompt.nonce
        started_s = round((row.at - (began or row.at)).total_seconds(), 3)
        yield {"document": documents[nonce], "position": asked[nonce], "started_s": started_s, **row.to_json()}
        asked[nonce] += 1


def _cell(value: object) -> object:
    if isinstance(value, dict | list | tuple):
        return json.dumps(value)
    if isinstance(value, str) and value.startswith(FORMULA_STARTS):
        return f"'{value}"
    return value
