"""One request on its way through an engine that makes ids: to text, chunks and report.

For the engines that batch by themselves (openvino, transformers). An engine gives the ids and the
instants; when the reply is over, what may be sent and what it cost is decided here.
"""

import asyncio
from dataclasses import dataclass
from typing import Protocol

from coordsvc.core.errors import CoordinationError, EngineBroken, Overloaded
from coordsvc.core.generation import (
    Chunk,
    FinishReason,
    GenerationRequest,
    Sampling,
    SoloProfile,
)
from coordsvc.core.units import Instant, Micros, since
from coordsvc.engines.chat_text import Prompt
from coordsvc.engines.detokenise import StopStrings
from coordsvc.engines.reporting import report


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What is computed: prompt ids, and how the reply is chosen."""

    ids: list[int]
    max_new_tokens: int
    sampling: Sampling = Sampling()
    json_schema: str | None = None
    ignore_end: bool = False
    """True goes on beyond the end-of-text token, so that a calibration run has a known length."""
    adapter: str = ""
    """Whose adapter computes it; none: the base."""


class Handle(Protocol):
    """A request inside an engine's library."""

    def take(self) -> list[int]:
        """Return the ids made since the last call."""
        ...

    def running(self) -> bool:
        """Tell whether more may come; False may leave ids to take."""
        ...

    def cancel(self) -> None:
        """End it; its place is free after the present step."""
        ...


class Text(Protocol):
    """Makes text of one reply's ids, whole characters only."""

    def feed(self, ids: list[int]) -> str:
        """Return the text that these ids complete."""
        ...

    def end(self) -> str:
        """Return what is left at the end."""
        ...


class Stream:
    """One request's state. Only the event loop touches it."""

    def __init__(
        self,
        request: GenerationRequest,
        prompt: Prompt,
        work: Work,
        *,
        arrived: Instant,
        text: Text,
        end_ids: frozenset[int],
        chunk_us: Micros,
    ) -> None:
        self.request, self.prompt, self.work = request, prompt, work
        self.arrived = arrived
        self.submitted: Instant | None = None
        self.scheduled: Instant | None = None
        self.cached_tokens = 0
        self.handle: Handle | None = None
        self.made: list[int] = []
        self.finish: FinishReason | None = None
        self.chunks: asyncio.Queue[Chunk | CoordinationError] = asyncio.Queue()
        self._text = text
        self._stops = StopStrings(request.sampling.stop)
        self._end_ids = frozenset[int]() if work.ignore_end else end_ids
        self._chunk_us = chunk_us
        self._unsent = ""
        self._sent_at: Instant | None = None

    def take(self, ids: list[int]) -> None:
        """Take new ids up to the reply's end; `finish` is set once that is reached."""
        room = self.work.max_new_tokens - len(self.made)
        ids = ids[:room]
        for index, token in enumerate(ids):
            if token in self._end_ids:
                ids = ids[: index + 1]
                self.finish = FinishReason.STOP
                break
        self.made += ids
        self._unsent += self._stops.feed(self._text.feed(ids))
        if self._stops.stopped:
            self.finish = FinishReason.STOP
        elif self.finish is None and len(self.made) >= self.work.max_new_tokens:
            self.finish = FinishReason.LENGTH

    def flush(self, now: Instant) -> None:
        """Send the text at hand if a chunk is due: the first at once, later ones in time."""
        due = self._sent_at is None or since(self._sent_at, now) >= self._chunk_us
        if self._unsent and due:
            self.chunks.put_nowait(Chunk(self._unsent))
            self._unsent, self._sent_at = "", now

    def close(self, now: Instant, profile: SoloProfile) -> None:
        """Send the last chunk, with the report."""
        assert self.finish is not None
        if not self._stops.stopped:
            self._unsent += self._stops.feed(self._text.end()) + self._stops.end()
        scheduled = self.scheduled or self.submitted or self.arrived
        told = report(
            profile,
            self.request,
            arrived=self.arrived,
            scheduled=scheduled,
            ended=now,
            finish=self.finish,
            prompt_tokens=len(self.prompt.ids),
            cached_tokens=self.cached_tokens,
            shared_tokens=self.prompt.shared_tokens,
            output_tokens=len(self.made),
        )
        self.chunks.put_nowait(Chunk(self._unsent, told))

    def fail(self, error: CoordinationError) -> None:
        """Raise `error` out of the request's generator."""
        self.chunks.put_nowait(error)

    def cut_off(self) -> CoordinationError:
        """Return what to say when the engine ended this request before its end."""
        if self.made:
            return EngineBroken("the library ended a request early, without saying why")
        return Overloaded("the engine had no room in its cache for this request")
