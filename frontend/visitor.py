"""What a visitor can do: ask, stop, start cold, bring another document. The page wires these to its buttons."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from pathlib import Path

from engines.client import ask as measured
from engines.document import HANDBOOK, accepted, fit, read_document
from engines.errors import ContextTooLong, EngineError
from engines.prompt import Prompt, new_nonce
from engines.topology import Engine
from frontend import race as racing
from frontend.race import Ask, Race

MAX_TOKENS = 64  # of an answer


@dataclass(frozen=True, slots=True)
class Visit:
    """One visitor's document, the nonce that opens their prompts, and what their engines answered."""

    engines: tuple[Engine, ...]
    name: str
    document: str = field(repr=False)
    nonce: str
    race: Race

    @classmethod
    def begin(cls, engines: Sequence[Engine], name: str, document: str) -> Visit:
        """A nonce that no engine has seen, and empty panes."""
        return cls(tuple(engines), name, document, new_nonce(), Race.of(engines))

    @classmethod
    def of_the_handbook(cls, engines: Sequence[Engine]) -> Visit:
        """With the document that the page opens with."""
        return cls.begin(engines, "FFmpeg: a working handbook", read_document(HANDBOOK))

    def cold(self) -> Visit:
        """The same document as if nobody had seen it."""
        return Visit.begin(self.engines, self.name, self.document)

    def with_file(self, path: Path) -> Visit:
        """Raises DocumentError when the file cannot be used; the visit then goes on with its old document."""
        return Visit.begin(self.engines, path.name, read_document(path))

    def stopped(self) -> Visit:
        """Panes that were at work say that they were stopped, and keep the text they have."""
        return replace(self, race=self.race.stopped())

    async def asking(
        self, heats: Sequence[Sequence[Engine]], question: str, *, cut: bool, ask: Ask = measured
    ) -> AsyncGenerator[Visit]:
        """The visit after every change of a pane. Raises DocumentError, with nobody asked, for a bad prompt."""
        prompt = await self._fitted([engine for heat in heats for engine in heat], question, cut=cut)
        async with aclosing(racing.run(self.race, heats, prompt, ask)) as races:
            async for race in races:
                yield replace(self, race=race)

    async def facts(self) -> str:
        """The document's size in the model's tokens, in Markdown."""
        name = f"**Context:** `{self.name.replace('`', '')}`"  # a file's name is no Markdown
        for engine in self.engines:
            try:
                _, tokens, limit = await accepted(engine, self._prompt("?"))
            except EngineError:
                continue
            over = f" · **{tokens - limit:,} too many: let it be cut, below**" if tokens > limit else ""
            return (
                f"{name}\n\n{tokens:,} tokens, of {limit:,} that the model leaves for it{over} · nonce `{self.nonce}`"
            )
        return f"{name}\n\nNo engine answers yet, so its tokens are not counted."

    def _prompt(self, question: str) -> Prompt:
        return Prompt(question, self.document, self.nonce, MAX_TOKENS)

    async def _fitted(self, engines: Sequence[Engine], question: str, *, cut: bool) -> Prompt:
        """Counted by the first of the engines that answers; when none does, each pane will say so."""
        prompt = self._prompt(question)
        for engine in engines:
            try:
                return await fit(engine, prompt, cut=cut)
            except ContextTooLong as exc:
                raise exc.with_remedy("tick «Cut the document to fit», or bring a shorter one") from exc
            except EngineError:
                continue
        return prompt
