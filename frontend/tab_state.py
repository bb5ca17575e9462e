"""What a visitor can do: ask, follow up, start cold, bring another document. The page wires these to its buttons."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from client.documents import HANDBOOK, LIMIT_BYTES, decode_text, read_document
from client.prompt import Prompt, Turn, new_nonce
from client.tokenizer import count_tokens, fit_to_context
from config.errors import ArenaError, ContextTooLong, DocumentError, EngineError
from config.topology import Engine
from frontend import race as racing
from frontend.question_options import DEFAULT_OPTIONS, QuestionOptions
from frontend.race import AskStream, Race, ask_engine
from media import Media

COUNTED_WITHIN_S = 5.0  # or the next engine is asked
NO_DOCUMENT = "No document"


@dataclass(frozen=True, slots=True)
class DocumentSize:
    """The next prompt's size in the model's tokens, without a question and media; None where nobody counts.

    `limit` is what the model leaves for a prompt. `cut` characters of the document were left out when it was last sent.
    """

    name: str
    tokens: int | None = None
    limit: int | None = None
    turns: int = 0  # of the conversation so far, in `tokens`
    cut: int = 0


@dataclass(frozen=True, slots=True)
class TabState:
    """One tab's document, the nonce that opens its prompts, the conversation, and what its engines answered."""

    engines: tuple[Engine, ...]
    name: str
    document: str = field(repr=False)
    nonce: str
    race: Race
    turns: tuple[Turn, ...] = ()  # before the question in the panes
    caption: str = ""  # what is going on, in a sentence
    before: int = 0  # visitors in the line
    elsewhere: str = ""  # what another process measures, and is waited for
    model: str = ""  # that the engines serve
    stand_in: bool = False  # whether its eyes and ears are of random weights

    @classmethod
    def begin(cls, engines: Sequence[Engine], name: str, document: str, model: str = "") -> TabState:
        """A nonce that no engine has seen, and empty panes."""
        return cls(tuple(engines), name, document, new_nonce(), Race.of(engines), model=model)

    @classmethod
    def of_the_handbook(cls, engines: Sequence[Engine], model: str = "") -> TabState:
        """With the document that the page opens with."""
        return cls.begin(engines, title_of(HANDBOOK), read_document(HANDBOOK), model)

    def cold(self) -> TabState:
        """The same document as if nobody had seen it, and no conversation yet."""
        return self.reading(self.name, self.document)

    def reading(self, name: str, document: str) -> TabState:
        """Another document, which no engine has seen."""
        return replace(TabState.begin(self.engines, name, document, self.model), stand_in=self.stand_in)

    def with_file(self, path: Path) -> TabState:
        """Raises DocumentError when the file cannot be used; the visit then goes on with its old document."""
        return self.reading(path.name, read_document(path))

    def with_text(self, text: str) -> TabState:
        """What was pasted; raises DocumentError when it cannot be used."""
        raw = text.encode("utf-8", "replace")  # a browser may send half of a surrogate pair
        if len(raw) > LIMIT_BYTES:
            raise DocumentError(
                f"the pasted text has {len(raw) / 2**20:.1f} MiB, over the limit of {LIMIT_BYTES // 2**20}: "
                "take a part of it"
            )
        return self.reading("Pasted text", decode_text(raw, "the pasted text"))

    def without_document(self) -> TabState:
        """Questions alone."""
        return self.reading(NO_DOCUMENT, "")

    def afresh(self) -> TabState:
        """The same document, which engines may know, and no conversation."""
        return replace(self, turns=(), race=Race.of(self.engines), caption="")

    def stopped(self) -> TabState:
        """Panes that were at work say that they were stopped, and keep the text they have."""
        return replace(self, race=self.race.stopped(), before=0, elsewhere="", caption="Stopped.")

    def broken(self, why: str) -> TabState:
        """The same when it was nobody's wish; a tour's sentence would not be true any more."""
        return replace(self, race=self.race.broken(why), before=0, elsewhere="", caption=why if self.caption else "")

    @property
    def sent(self) -> str:
        """The document as engines have read it last: whole, or cut to fit."""
        asked = self.race.prompt
        return asked.document if asked and asked.document else self.document

    def context(self, prompt: Prompt) -> str:
        """The name of the document that a prompt is about."""
        return self.name if prompt.document else NO_DOCUMENT

    @property
    def answered(self) -> Turn | None:
        """The last question with the answer that the conversation goes on with: the first engine's that has one."""
        asked = self.race.prompt
        if asked is None:
            return None
        texts = (pane.text for pane in self.race.panes.values() if pane.prompt == asked and pane.text.strip())
        return next((Turn(asked.question, text, asked.media) for text in texts), None)

    @property
    def conversation(self) -> tuple[Turn, ...]:
        """All turns, the last question's included where it has an answer."""
        return (*self.turns, self.answered) if self.answered else self.turns

    @property
    def media(self) -> tuple[Media, ...]:
        """That the conversation has, and that go along with it."""
        return tuple(each for turn in self.conversation for each in turn.media)

    def following(self, question: str, engines: Sequence[Engine]) -> tuple[Turn, ...]:
        """The turns that go before this question. Engines that lack only the last one join its race when asked it."""
        asked = self.race.prompt
        joins = asked is not None and asked.question == question
        joins = joins and all(self.race.panes[engine.name].prompt != asked for engine in engines)
        return self.turns if joins else self.conversation

    def edited(self, number: int) -> tuple[TabState, str]:
        """The conversation up to before its question `number`, and that question's text."""
        asked = [turn.question for turn in self.turns]
        asked += [self.race.prompt.question] if self.race.prompt else []
        if not 0 <= number < len(asked):
            return self, ""
        return replace(self, turns=self.turns[:number], race=Race.of(self.engines), caption=""), asked[number]

    async def asking(
        self,
        heats: Sequence[Sequence[Engine]],
        question: str,
        choices: QuestionOptions = DEFAULT_OPTIONS,
        media: Sequence[Media] = (),
        ask: AskStream = ask_engine,
        *,
        again: bool = False,
    ) -> AsyncGenerator[TabState]:
        """The visit after every change of a pane. Raises DocumentError, with nobody asked, for a bad prompt.

        Media that the conversation has already do not go twice. `again` is the last question once more, which does not
        follow itself.
        """
        engines = [engine for heat in heats for engine in heat]
        turns = (self.turns if again else self.following(question, engines)) if choices.follow else ()
        there = [each for turn in turns for each in turn.media]
        prompt = self._prompt(question, choices, tuple(each for each in media if each not in there), turns)
        prompt = await _fitted(engines, prompt, cut=choices.cut)
        visit = replace(self, turns=turns)
        async with aclosing(racing.ask_all(self.race, heats, prompt, ask)) as races:
            async for race in races:
                yield replace(visit, race=race)

    async def facts(self, choices: QuestionOptions = DEFAULT_OPTIONS, within: float = COUNTED_WITHIN_S) -> DocumentSize:
        """Counted by the first engine that answers `within` seconds."""
        turns = tuple(replace(turn, media=()) for turn in self.conversation) if choices.follow else ()
        facts = DocumentSize(self.name, turns=len(turns), cut=len(self.document) - len(self.sent))
        for engine in self.engines:
            with suppress(ArenaError, TimeoutError):
                async with asyncio.timeout(within):
                    _, tokens, limit = await count_tokens(engine, self._prompt("?", choices, (), turns))
                return replace(facts, tokens=tokens, limit=limit)
        return facts

    def _prompt(
        self, question: str, choices: QuestionOptions, media: tuple[Media, ...], turns: tuple[Turn, ...]
    ) -> Prompt:
        return Prompt(
            question,
            self.document if choices.document else "",
            self.nonce,
            choices.max_tokens,
            choices.temperature,
            choices.seed,
            # random weights may end an answer before its first word
            ignore_eos=self.stand_in and any((*media, *(each for turn in turns for each in turn.media))),
            media=media,
            turns=turns,
        )


async def _fitted(engines: Sequence[Engine], prompt: Prompt, *, cut: bool) -> Prompt:
    """Counted by the first of the engines that answers; when none does, each pane will say so."""
    for engine in engines:
        try:
            return await fit_to_context(engine, prompt, cut=cut)
        except ContextTooLong as exc:
            hint = "tick «Cut to fit», start a new conversation, or bring a shorter document"
            raise ContextTooLong(exc.tokens, exc.limit, hint=hint) from exc
        except EngineError:
            continue
    return prompt


def title_of(document: Path) -> str:
    """A built-in document's first heading."""
    with document.open(encoding="utf-8") as file:
        return file.readline().lstrip("# ").strip() or document.stem
