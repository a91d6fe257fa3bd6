"""An engine that answers from a script: deterministic, and next to free without delays.

A token is a word. The reply to a request is a function of its last message; a request with a JSON
schema gets the next verdict of the list instead. With a prefix, the rest of the scripted reply
follows, so prefix + answer is the whole reply; a prefix that is not its beginning is a mistake of
the test, and a `BadRequest`.
"""

import asyncio
from collections.abc import AsyncGenerator
from itertools import pairwise

from coordsvc.clock import MonotonicClock
from coordsvc.core.errors import BadRequest, EngineBroken
from coordsvc.core.generation import (
    Chunk,
    EngineInfo,
    FinishReason,
    GenerationRequest,
    SoloProfile,
    going_on,
)
from coordsvc.engines.chat_text import last_text, require_fit
from coordsvc.engines.detokenise import StopStrings
from coordsvc.engines.places import Places
from coordsvc.engines.reporting import report
from coordsvc.engines.settings import ScriptedSettings, ScriptRule
from coordsvc.engines.words import count, cut, words
from coordsvc.ports import Clock

_PROFILE = SoloProfile(start_us=0.0, prefill_us=0.0, decode_us=0.0)
"""A script costs nothing by itself: what it takes beyond is somebody's coordination."""


class ScriptedEngine:
    """The port `Engine`, from a script."""

    def __init__(self, settings: ScriptedSettings, clock: Clock | None = None) -> None:
        self._settings = settings
        self._clock = clock or MonotonicClock()
        self._places = Places(settings.batch_max, settings.waiting_max)
        self._verdicts_given = 0
        self._chunks_given = 0
        self._broken: str | None = "the engine has not been started"

    async def start(self) -> EngineInfo:
        """Be ready."""
        self._broken = None
        settings = self._settings
        return EngineInfo(
            kind="scripted",
            model=settings.model,
            context_tokens=settings.context_tokens,
            batch_max=settings.batch_max,
            profile=_PROFILE,
        )

    async def generate(self, request: GenerationRequest) -> AsyncGenerator[Chunk]:
        """Yield the scripted reply; the last chunk carries the report."""
        arrived = self._clock.now()
        self.check()
        prompt_tokens = count(message.text for message in request.messages)
        prefix_tokens = count([request.prefix])
        prompt_tokens += prefix_tokens
        request = going_on(request, prefix_tokens)
        require_fit(request, prompt_tokens, self._settings.context_tokens)
        if not self._places.take_now():
            await self._places.wait()
        try:
            scheduled = self._clock.now()
            rule = self._rule(request)
            text, finish = _answer(rule.reply, request)
            pieces = _pieces(text, rule.chunks)
            if rule.delay_ms:
                await asyncio.sleep(rule.delay_ms / 1_000)
            for piece in pieces[:-1]:
                self._count_chunk()
                yield Chunk(piece)
                if rule.chunk_delay_ms:
                    await asyncio.sleep(rule.chunk_delay_ms / 1_000)
            self._count_chunk()
            shared = count(m.text for m in request.messages[: request.shared_messages])
            told = report(
                _PROFILE,
                request,
                arrived=arrived,
                scheduled=scheduled,
                ended=self._clock.now(),
                finish=finish,
                prompt_tokens=prompt_tokens,
                cached_tokens=0,
                shared_tokens=shared,
                output_tokens=count([text]) if rule.tokens is None else rule.tokens,
            )
            yield Chunk(pieces[-1], told)
        finally:
            self._places.give_back()

    def running(self) -> int:
        """Return how many requests are inside, waiting ones included."""
        return self._places.inside

    def check(self) -> None:
        """Raise `EngineBroken` if the script said so, or before the start and after the stop."""
        if self._broken is not None:
            raise EngineBroken(self._broken)

    async def stop(self) -> None:
        """Refuse all further work."""
        self._break("the engine was stopped")

    def _rule(self, request: GenerationRequest) -> ScriptRule:
        """Return what answers this request."""
        settings = self._settings
        text = last_text(request.messages)
        rule = next((rule for rule in settings.rules if rule.match in text), settings.default)
        if request.json_schema is None:
            return rule
        verdict = settings.verdicts[min(self._verdicts_given, len(settings.verdicts) - 1)]
        self._verdicts_given += 1
        return rule.model_copy(update={"reply": verdict})

    def _count_chunk(self) -> None:
        """Take note of a chunk; break if the script says that it was the last one."""
        self.check()
        limit = self._settings.break_after_chunks
        if limit is not None and self._chunks_given >= limit:
            self._break(f"the script breaks this engine after {limit} chunks")
            self.check()
        self._chunks_given += 1

    def _break(self, reason: str) -> None:
        self._broken = reason
        self._places.refuse_all(EngineBroken(reason))


def _answer(reply: str, request: GenerationRequest) -> tuple[str, FinishReason]:
    """Return what is left of `reply` after the prefix, cut as the request says."""
    if not reply.startswith(request.prefix):
        size = len(request.prefix)
        msg = f"a prefix of {size} characters does not begin the scripted reply {reply[:40]!r}"
        raise BadRequest(msg)
    rest = reply[len(request.prefix) :]
    if request.sampling.stop:
        stops = StopStrings(request.sampling.stop)
        rest = stops.feed(rest) + stops.end()
    text, shortened = cut(rest, request.max_new_tokens)
    return text, FinishReason.LENGTH if shortened else FinishReason.STOP


def _pieces(text: str, chunks: int) -> list[str]:
    """Cut `text` at words into at most `chunks` pieces of even length; at least one."""
    if chunks == 1:
        return [text]
    found = words(text)
    number = max(1, min(chunks, len(found)))
    edges = [len(found) * index // number for index in range(number + 1)]
    return ["".join(found[a:b]) for a, b in pairwise(edges)]
