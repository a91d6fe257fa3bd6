"""An accelerator's timing, from a declared profile. The text is filler, and says so.

The emulated accelerator computes in steps, as a continuously batching engine does. A step takes
in as many waiting requests as there are places, and gives every sequence one token. It lasts

    start_us (for each taken in) + prefill_us_per_token * its uncached tokens
    + decode_base_us + decode_us_per_sequence * sequences in the batch

so a request alone lasts exactly what the reported solo profile predicts. Steps follow each other
on the loop's own time, each from the end of the one before: sleeping too long in one step shortens
the next, so rounding does not add up. A token is a word; cached prefixes are those of
`prefix_mirror`. Everything it reports carries `emulated=True`.
"""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator
from itertools import cycle, islice

from coordsvc.clock import MonotonicClock
from coordsvc.core.errors import EngineBroken, Overloaded
from coordsvc.core.generation import (
    Chunk,
    EngineInfo,
    FinishReason,
    GenerationRequest,
    SoloProfile,
    going_on,
)
from coordsvc.core.units import MILLISECOND, SECOND, Instant, Micros, since
from coordsvc.engines.chat_text import require_fit
from coordsvc.engines.detokenise import StopStrings
from coordsvc.engines.prefix_mirror import PrefixMirror
from coordsvc.engines.reporting import report
from coordsvc.engines.settings import EmulatedSettings
from coordsvc.engines.words import prompt_words, words
from coordsvc.ports import Clock

_MARK = "[emulated]"
_FILLER = ("This", "reply", "was", "made", "up", "by", "an", "emulated", "engine.")


class EmulatedEngine:
    """The port `Engine`, with a declared timing."""

    def __init__(self, settings: EmulatedSettings, clock: Clock | None = None) -> None:
        self._settings = settings
        self._clock = clock or MonotonicClock()
        self._profile = SoloProfile(
            start_us=settings.start_us / settings.speed,
            prefill_us=settings.prefill_us_per_token / settings.speed,
            decode_us=(settings.decode_base_us + settings.decode_us_per_sequence) / settings.speed,
        )
        self._chunk_us = Micros(round(settings.chunk_ms * MILLISECOND / settings.speed))
        self._mirror = PrefixMirror(
            settings.block_tokens, settings.cache_tokens // settings.block_tokens
        )
        self._waiting: deque[_Sequence] = deque()
        self._active: list[_Sequence] = []
        self._stepper: asyncio.Task[None] | None = None
        self._broken: str | None = "the engine has not been started"

    async def start(self) -> EngineInfo:
        """Be ready; nothing is measured, the profile is the declared one."""
        self._broken = None
        return EngineInfo(
            kind="emulated",
            model=self._settings.model,
            context_tokens=self._settings.context_tokens,
            batch_max=self._settings.batch_max,
            profile=self._profile,
            emulated=True,
        )

    async def generate(self, request: GenerationRequest) -> AsyncGenerator[Chunk]:
        """Yield filler at the declared pace; the last chunk carries the report."""
        arrived = self._clock.now()
        self.check()
        prompt, shared = prompt_words(request)
        request = going_on(request, len(request.prefix.split()))
        require_fit(request, len(prompt), self._settings.context_tokens)
        if len(self._waiting) >= self._settings.waiting_max:
            msg = f"{len(self._waiting)} requests wait for this engine already; come back later"
            raise Overloaded(msg)
        sequence = _Sequence(request, prompt, shared, arrived, self._reply(request))
        self._waiting.append(sequence)
        self._watch()
        try:
            while True:
                item = await sequence.chunks.get()
                if not isinstance(item, Chunk):
                    raise item
                yield item
                if item.report is not None:
                    return
        finally:
            self._drop(sequence)

    def running(self) -> int:
        """Return how many requests are inside, waiting ones included."""
        return len(self._active) + len(self._waiting)

    def check(self) -> None:
        """Raise `EngineBroken` if its steps have ended, before the start and after the stop."""
        if self._broken is not None:
            raise EngineBroken(self._broken)

    async def stop(self) -> None:
        """End all work."""
        if self._broken is None:
            self._break("the engine was stopped")
        if self._stepper is not None:
            self._stepper.cancel()

    def _reply(self, request: GenerationRequest) -> list[str]:
        """Return the words that answer the request, more or fewer than it allows."""
        if request.json_schema is not None:
            whole = self._settings.verdict
            rest = whole.removeprefix(request.prefix) if request.prefix else whole
            return words(rest)
        done = len(request.prefix.split())
        filler = [_MARK, *islice(cycle(_FILLER), self._settings.reply_tokens)]
        left = filler[done : self._settings.reply_tokens]
        return [word if done + at == 0 else f" {word}" for at, word in enumerate(left)]

    def _watch(self) -> None:
        """Make sure that somebody steps."""
        if self._stepper is None and self.running() and self._broken is None:
            self._stepper = asyncio.get_running_loop().create_task(self._work())
            self._stepper.add_done_callback(self._rest)

    def _rest(self, task: asyncio.Task[None]) -> None:
        """Take note that the steps ended; if by an error, the engine is broken."""
        self._stepper = None
        error = None if task.cancelled() else task.exception()
        if error is not None:
            self._break(f"the emulated steps died: {error!r}")
        # Work may have come between the last step and now.
        self._watch()

    async def _work(self) -> None:
        """Step while there is work."""
        ends = self._clock.now()
        while self.running():
            lasts = self._take_in()
            ends = Instant(ends + lasts)
            await asyncio.sleep(max(0, ends - self._clock.now()) / SECOND)
            now = self._clock.now()
            for sequence in list(self._active):
                self._advance(sequence, now)

    def _take_in(self) -> int:
        """Fill the free places; return how long the step lasts, in microseconds."""
        settings = self._settings
        now = self._clock.now()
        cost = settings.decode_base_us
        while self._waiting and len(self._active) < settings.batch_max:
            sequence = self._waiting.popleft()
            sequence.scheduled = now
            sequence.cached_tokens = self._mirror.cached(sequence.ids)
            self._mirror.insert(sequence.ids)
            cost += settings.start_us
            cost += settings.prefill_us_per_token * (len(sequence.ids) - sequence.cached_tokens)
            self._active.append(sequence)
        cost += settings.decode_us_per_sequence * len(self._active)
        return round(cost / settings.speed)

    def _advance(self, sequence: "_Sequence", now: Instant) -> None:
        """Give one sequence its next word, and end it if that was the last one."""
        text = sequence.next_word()
        sequence.unsent += text
        if sequence.finish is None:
            sequence.flush(now, self._chunk_us)
            return
        self._active.remove(sequence)
        told = report(
            self._profile,
            sequence.request,
            arrived=sequence.arrived,
            scheduled=sequence.scheduled,
            ended=now,
            finish=sequence.finish,
            prompt_tokens=len(sequence.ids),
            cached_tokens=sequence.cached_tokens,
            shared_tokens=sequence.shared_tokens,
            output_tokens=sequence.made,
            emulated=True,
        )
        sequence.chunks.put_nowait(Chunk(sequence.unsent, told))

    def _drop(self, sequence: "_Sequence") -> None:
        """Forget the sequence, wherever it is."""
        if sequence in self._waiting:
            self._waiting.remove(sequence)
        if sequence in self._active:
            self._active.remove(sequence)

    def _break(self, reason: str) -> None:
        """Refuse all further work, and tell everybody who waits."""
        self._broken = reason
        for sequence in [*self._active, *self._waiting]:
            sequence.chunks.put_nowait(EngineBroken(reason))
        self._active.clear()
        self._waiting.clear()


class _Sequence:
    """One request inside the emulated accelerator."""

    def __init__(
        self,
        request: GenerationRequest,
        prompt: list[str],
        shared_tokens: int,
        arrived: Instant,
        reply: list[str],
    ) -> None:
        self.request = request
        self.ids = [hash(word) for word in prompt]
        self.shared_tokens = shared_tokens
        self.arrived = arrived
        self.scheduled = arrived
        self.cached_tokens = 0
        self.made = 0
        self.finish: FinishReason | None = None
        self.chunks: asyncio.Queue[Chunk | EngineBroken] = asyncio.Queue()
        self.unsent = ""
        self._sent_at: Instant | None = None
        self._reply = reply
        self._stops = StopStrings(request.sampling.stop)

    def flush(self, now: Instant, chunk_us: Micros) -> None:
        """Send the text at hand if a chunk is due: the first at once, later ones in time."""
        due = self._sent_at is None or since(self._sent_at, now) >= chunk_us
        if self.unsent and due:
            self.chunks.put_nowait(Chunk(self.unsent))
            self.unsent, self._sent_at = "", now

    def next_word(self) -> str:
        """Return the text that the next word completes; `finish` is set if it is the last."""
        text = ""
        if self.made < len(self._reply):
            text = self._stops.feed(self._reply[self.made])
        self.made += 1
        if self._stops.stopped or self.made >= len(self._reply):
            self.finish = FinishReason.STOP
        elif self.made >= self.request.max_new_tokens:
            self.finish = FinishReason.LENGTH
        return text if self.finish is None else text + self._stops.end()
