"""What a visitor can do: ask, follow up, start cold, bring another document. The page wires these to its buttons."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from pathlib import Path

from engines.document import HANDBOOK, accepted, decode, fit, read_document
from engines.errors import ContextTooLong, EngineError
from engines.media import Media
from engines.prompt import Prompt, Turn, new_nonce
from engines.topology import Engine
from frontend import race as racing
from frontend.race import Ask, Race, measured

MAX_TOKENS = 64  # of an answer
NO_DOCUMENT = "No document"


@dataclass(frozen=True, slots=True)
class Choices:
    """What stands under "more"."""

    max_tokens: int = MAX_TOKENS
    temperature: float = 0.0
    seed: int = 0
    cut: bool = False  # the document, to fit the model
    follow: bool = True  # the conversation so far goes along


@dataclass(frozen=True, slots=True)
class Facts:
    """The document's size in the model's tokens; `limit` is what the model leaves for a prompt. None: nobody counts."""

    name: str
    tokens: int | None = None
    limit: int | None = None


@dataclass(frozen=True, slots=True)
class Visit:
    """One tab's document, the nonce that opens its prompts, the conversation, and what its engines answered."""

    engines: tuple[Engine, ...]
    name: str
    document: str = field(repr=False)
    nonce: str
    race: Race
    turns: tuple[Turn, ...] = ()  # before the question in the panes
    caption: str = ""  # what is going on, in a sentence
    before: int = 0  # visitors in the line

    @classmethod
    def begin(cls, engines: Sequence[Engine], name: str, document: str) -> Visit:
        """A nonce that no engine has seen, and empty panes."""
        return cls(tuple(engines), name, document, new_nonce(), Race.of(engines))

    @classmethod
    def of_the_handbook(cls, engines: Sequence[Engine]) -> Visit:
        """With the document that the page opens with."""
        return cls.begin(engines, title_of(HANDBOOK), read_document(HANDBOOK))

    def cold(self) -> Visit:
        """The same document as if nobody had seen it, and no conversation yet."""
        return Visit.begin(self.engines, self.name, self.document)

    def with_file(self, path: Path) -> Visit:
        """Raises DocumentError when the file cannot be used; the visit then goes on with its old document."""
        return Visit.begin(self.engines, path.name, read_document(path))

    def with_text(self, text: str) -> Visit:
        """What was pasted; raises DocumentError when it cannot be used."""
        return Visit.begin(self.engines, "Pasted text", decode(text.encode(), "the pasted text"))

    def without_document(self) -> Visit:
        """Questions alone."""
        return Visit.begin(self.engines, NO_DOCUMENT, "")

    def afresh(self) -> Visit:
        """The same document, which engines may know, and no conversation."""
        return replace(self, turns=(), race=Race.of(self.engines), caption="")

    def stopped(self) -> Visit:
        """Panes that were at work say that they were stopped, and keep the text they have."""
        return replace(self, race=self.race.stopped(), before=0, caption="Stopped.")

    @property
    def answered(self) -> Turn | None:
        """The last question with the answer that the conversation goes on with: the first engine's that has one."""
        asked = self.race.prompt
        if asked is None:
            return None
        texts = (pane.text for pane in self.race.panes.values() if pane.prompt == asked and pane.text.strip())
        return next((Turn(asked.question, text, asked.media) for text in texts), None)

    def following(self, question: str) -> tuple[Turn, ...]:
        """The turns that go before this question. The last question once more is no follow-up of itself."""
        last = self.answered
        return self.turns if last is None or last.question == question else (*self.turns, last)

    def edited(self, number: int) -> tuple[Visit, str]:
        """The conversation up to before its question `number`, and that question's text."""
        turns = (*self.turns, self.answered) if self.answered else self.turns
        if not 0 <= number < len(turns):
            return self, ""
        return replace(self, turns=turns[:number], race=Race.of(self.engines)), turns[number].question

    async def asking(
        self,
        heats: Sequence[Sequence[Engine]],
        question: str,
        choices: Choices = Choices(),
        media: Sequence[Media] = (),
        ask: Ask = measured,
    ) -> AsyncGenerator[Visit]:
        """The visit after every change of a pane. Raises DocumentError, with nobody asked, for a bad prompt."""
        turns = self.following(question) if choices.follow else ()
        prompt = self._prompt(question, choices, tuple(media), turns)
        prompt = await _fitted([engine for heat in heats for engine in heat], prompt, cut=choices.cut)
        visit = replace(self, turns=turns)
        async with aclosing(racing.run(self.race, heats, prompt, ask)) as races:
            async for race in races:
                yield replace(visit, race=race)

    async def facts(self) -> Facts:
        """Counted by the first engine that answers."""
        for engine in self.engines:
            try:
                _, tokens, limit = await accepted(engine, self._prompt("?", Choices(), (), ()))
            except EngineError:
                continue
            return Facts(self.name, tokens, limit)
        return Facts(self.name)

    def _prompt(self, question: str, choices: Choices, media: tuple[Media, ...], turns: tuple[Turn, ...]) -> Prompt:
        return Prompt(
            question,
            self.document,
            self.nonce,
            choices.max_tokens,
            choices.temperature,
            choices.seed,
            media=media,
            turns=turns,
        )


async def _fitted(engines: Sequence[Engine], prompt: Prompt, *, cut: bool) -> Prompt:
    """Counted by the first of the engines that answers; when none does, each pane will say so."""
    for engine in engines:
        try:
            return await fit(engine, prompt, cut=cut)
        except ContextTooLong as exc:
            raise exc.with_remedy("tick «Cut to fit», start a new conversation, or bring a shorter document") from exc
        except EngineError:
            continue
    return prompt


def title_of(document: Path) -> str:
    """A built-in document's first heading."""
    with document.open(encoding="utf-8") as file:
        return file.readline().lstrip("# ").strip() or document.stem
