"""A tab's state as an immutable value: its document, conversation and panes, and how they may change."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from client.documents import HANDBOOK, LIMIT_BYTES, decode_text, read_document
from client.prompt import Prompt, Turn, new_nonce
from client.tokenizer import count_tokens, fit_to_context
from config.errors import ArenaError, ContextTooLong, DocumentError, EngineError
from config.topology import Engine
from frontend.link import NO_LINK, ShareLink
from frontend.question_options import DEFAULT_OPTIONS, QuestionOptions
from frontend.race import Pane, PaneStatus, Race
from media import Media

COUNT_TIMEOUT_S = 5.0  # after which the next engine is asked to count
NO_DOCUMENT = "No document"


@dataclass(frozen=True, slots=True)
class DocumentSize:
    """The size of the next prompt without its question and media.

    `tokens` is None if no engine could count it. `limit` is the number of tokens that the model's context leaves for a
    prompt. `cut` is the number of characters omitted from the document when it was last sent.
    """

    name: str
    tokens: int | None = None
    limit: int | None = None
    turns: int = 0  # of the conversation so far, included in `tokens`
    cut: int = 0


@dataclass(frozen=True, slots=True)
class TabState:
    """A tab's document, the nonce at the start of its prompts, the conversation, and the engines' answers."""

    engines: tuple[Engine, ...]
    name: str
    document: str = field(repr=False)
    nonce: str
    race: Race
    turns: tuple[Turn, ...] = ()  # before the question in the panes
    caption: str = ""  # a sentence about what is happening
    visitors_ahead: int = 0  # in the queue
    measured_elsewhere: str = ""  # the measurement in another process that this tab is waiting for
    model: str = ""  # served by the engines
    random_media_weights: bool = False  # the model's image and audio encoders are not trained
    link: ShareLink = NO_LINK  # restores the last question

    @classmethod
    def begin(cls, engines: Sequence[Engine], name: str, document: str, model: str = "") -> TabState:
        """Returns a state with a new nonce, which no engine has seen, and empty panes."""
        return cls(tuple(engines), name, document, new_nonce(), Race.of(engines), model=model)

    @classmethod
    def with_handbook(cls, engines: Sequence[Engine], model: str = "") -> TabState:
        """Returns a state with the page's default document."""
        return cls.begin(engines, title_of(HANDBOOK), read_document(HANDBOOK), model)

    def with_new_nonce(self) -> TabState:
        """Keeps the document, as if no engine had read it, and clears the conversation."""
        return self.with_document(self.name, self.document)

    def with_document(self, name: str, document: str) -> TabState:
        """Returns the state with another document, which no engine has read, and no conversation."""
        return replace(self.without_turns(), name=name, document=document, nonce=new_nonce())

    def with_file(self, path: Path) -> TabState:
        """Returns the state with the file as its document. Raises DocumentError if the file cannot be used."""
        return self.with_document(path.name, read_document(path))

    def with_text(self, text: str) -> TabState:
        """Returns the state with the pasted text as its document. Raises DocumentError if it cannot be used."""
        raw = text.encode("utf-8", "replace")  # a browser may send an unpaired surrogate
        if len(raw) > LIMIT_BYTES:
            raise DocumentError(
                f"the pasted text has {len(raw) / 2**20:.1f} MiB, over the limit of {LIMIT_BYTES // 2**20}: "
                "take a part of it"
            )
        return self.with_document("Pasted text", decode_text(raw, "the pasted text"))

    def without_document(self) -> TabState:
        return self.with_document(NO_DOCUMENT, "")

    def without_turns(self) -> TabState:
        """Keeps the document, which engines may have read, and clears the conversation."""
        return replace(self, turns=(), race=Race.of(self.engines), caption="", visitors_ahead=0, measured_elsewhere="")

    def with_prompt(self, prompt: Prompt, engines: Sequence[Engine]) -> TabState:
        """Sets the panes of these engines to QUEUED with this prompt."""
        race = self.race.about(prompt)
        for engine in engines:
            race = race.with_pane(Pane(engine.name, PaneStatus.QUEUED, prompt))
        return replace(self, turns=prompt.turns, race=race)

    def stopped(self) -> TabState:
        """Returns the state after the visitor stopped the run; its panes keep their text."""
        race = self.race.ended(PaneStatus.STOPPED, "stopped")
        return replace(self, race=race, visitors_ahead=0, measured_elsewhere="", caption="Stopped.")

    def failed(self, why: str) -> TabState:
        """Returns the state after the run failed; its panes keep their text, and `why` replaces a tour's caption."""
        race = self.race.ended(PaneStatus.FAILED, why)
        caption = why if self.caption else ""
        return replace(self, race=race, visitors_ahead=0, measured_elsewhere="", caption=caption)

    @property
    def sent_document(self) -> str:
        """The document as it was last sent: complete, or cut to fit."""
        asked = self.race.prompt
        return asked.document if asked and asked.document else self.document

    def context(self, prompt: Prompt) -> str:
        """Returns the name of the document that a prompt contains, or NO_DOCUMENT."""
        return self.name if prompt.document else NO_DOCUMENT

    @property
    def conversation(self) -> tuple[Turn, ...]:
        """The earlier turns, and the last question with the first answer in the panes."""
        if (asked := self.race.prompt) is None:
            return self.turns
        texts = (pane.text for pane in self.race.panes.values() if pane.prompt == asked and pane.text.strip())
        return (*self.turns, *(Turn(asked.question, text, asked.media) for text in [*texts][:1]))

    @property
    def media(self) -> tuple[Media, ...]:
        """The media of the conversation, which are sent with it."""
        return tuple(each for turn in self.conversation for each in turn.media)

    def edited(self, number: int) -> tuple[TabState, str]:
        """Returns the state with only the turns before question `number`, and that question's text."""
        asked = [turn.question for turn in self.turns]
        asked += [self.race.prompt.question] if self.race.prompt else []
        if not 0 <= number < len(asked):
            return self, ""
        return replace(self.without_turns(), turns=self.turns[:number]), asked[number]

    def next_prompt(
        self,
        engines: Sequence[Engine],
        question: str,
        options: QuestionOptions = DEFAULT_OPTIONS,
        media: Sequence[Media] = (),
        *,
        again: bool = False,
    ) -> Prompt:
        """Returns the prompt for a question. Raises DocumentError if it cannot be sent.

        Media that are already in the conversation are not sent twice. `again` repeats the last question, without itself
        as an earlier turn.
        """
        turns = (self.turns if again else self._turns_before(question, engines)) if options.follow else ()
        sent = [each for turn in turns for each in turn.media]
        return self._prompt(question, options, tuple(each for each in media if each not in sent), turns)

    def _turns_before(self, question: str, engines: Sequence[Engine]) -> tuple[Turn, ...]:
        """Returns the turns before the question. Engines that are asked the last question for the first time get the
        same turns as the others did, so that they join its race."""
        asked = self.race.prompt
        joins = asked is not None and asked.question == question
        joins = joins and all(self.race.panes[engine.name].prompt != asked for engine in engines)
        return self.turns if joins else self.conversation

    def _prompt(
        self, question: str, options: QuestionOptions, media: tuple[Media, ...], turns: tuple[Turn, ...]
    ) -> Prompt:
        return Prompt(
            question,
            self.document if options.document else "",
            self.nonce,
            options.max_tokens,
            options.temperature,
            options.seed,
            # a model with random weights may end its answer before the first word
            ignore_eos=self.random_media_weights and any((*media, *(each for turn in turns for each in turn.media))),
            media=media,
            turns=turns,
        )

    async def document_size(
        self, options: QuestionOptions = DEFAULT_OPTIONS, within_s: float = COUNT_TIMEOUT_S
    ) -> DocumentSize:
        """Returns the size, counted by the first engine that answers within `within_s` seconds."""
        turns = tuple(replace(turn, media=()) for turn in self.conversation) if options.follow else ()
        size = DocumentSize(self.name, turns=len(turns), cut=len(self.document) - len(self.sent_document))
        for engine in self.engines:
            with suppress(ArenaError, TimeoutError):
                async with asyncio.timeout(within_s):
                    _, tokens, limit = await count_tokens(engine, self._prompt("?", options, (), turns))
                return replace(size, tokens=tokens, limit=limit)
        return size


async def fit_prompt(engines: Sequence[Engine], prompt: Prompt, *, cut: bool) -> Prompt:
    """Fits the prompt to the context, counted by the first engine that answers; if none does, the panes show it."""
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
    """Returns a built-in document's first heading."""
    with document.open(encoding="utf-8") as file:
        return file.readline().lstrip("# ").strip() or document.stem
