"""The engine on OpenVINO GenAI: continuous batching, prefix cache, JSON schemas, on a CPU.

How it works. One thread computes: it is given the first request of a burst and stays in the
library, outside Python's global lock, until no request is left (`openvino_runtime` tells why). All
else happens on the event loop: a *sweep* every `poll_ms`, only while there is work, takes new ids
from every request, makes text of them, sends the chunks that are due, and fills free places in the
batch. So nothing is done per token across threads, and no lock is needed.

Times. A request that leads a burst is scheduled at once. Another one is scheduled at the first
step's end seen after it was added (a step's end shows as new ids of anybody); until then it is
queued. Both are exact to `poll_ms`. A prompt that shares its steps with other prompts is computing.

Limits. The grammar of a JSON schema cannot begin half way, so a request with both a schema and a
prefix goes on unconstrained. A seed repeats a reply only on the same prefix cache: a prompt
computed in other pieces gives other last bits. LoRA adapters per request are not possible here:
`by_agent` has an engine of this kind for each.
"""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing

from coordsvc.clock import MonotonicClock
from coordsvc.core.errors import BadRequest, EngineBroken, Overloaded
from coordsvc.core.generation import (
    Chunk,
    EngineInfo,
    FinishReason,
    GenerationRequest,
    SoloProfile,
    going_on,
)
from coordsvc.core.units import MILLISECOND, Instant, Micros, since
from coordsvc.engines import calibration
from coordsvc.engines.adapters import require_known
from coordsvc.engines.chat_text import ChatText, Prompt, require_fit
from coordsvc.engines.detokenise import Detokeniser
from coordsvc.engines.json_schemas import require_schema
from coordsvc.engines.openvino_runtime import Lead, Runtime, load
from coordsvc.engines.prefix_mirror import PrefixMirror
from coordsvc.engines.settings import OpenVinoSettings
from coordsvc.engines.stream import Stream, Work
from coordsvc.ports import Clock

_NO_PROFILE = SoloProfile(start_us=0.0, prefill_us=0.0, decode_us=0.0)


class OpenVinoEngine:
    """The port `Engine` on OpenVINO."""

    def __init__(
        self,
        settings: OpenVinoSettings,
        load: Callable[[OpenVinoSettings], Runtime] = load,
        clock: Clock | None = None,
    ) -> None:
        self._settings = settings
        self._load = load
        self._clock = clock or MonotonicClock()
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="openvino")
        self._runtime: Runtime | None = None
        self._chat: ChatText | None = None
        self._mirror = PrefixMirror(
            settings.block_tokens, settings.cache_tokens // settings.block_tokens
        )
        self._profile = _NO_PROFILE
        self._waiting: deque[Stream] = deque()
        self._active: list[Stream] = []
        self._lead: Stream | None = None
        self._run: asyncio.Future[None] | None = None
        self._sweeper: asyncio.Task[None] | None = None
        self._moved: Instant = self._clock.now()
        self._broken: EngineBroken | None = EngineBroken("the engine has not been started")

    async def start(self) -> EngineInfo:
        """Load, warm up and calibrate."""
        loop = asyncio.get_running_loop()
        runtime = await loop.run_in_executor(self._thread, self._load, self._settings)
        self._runtime = runtime
        self._chat = ChatText(runtime, runtime.control.keys(), runtime.control.values())
        self._broken = None
        declared = self._settings.profile
        self._profile = declared.profile() if declared else await self._calibrate(runtime)
        return EngineInfo(
            kind="openvino",
            model=self._settings.model,
            context_tokens=runtime.context_tokens,
            batch_max=self._settings.batch_max,
            profile=self._profile,
            attributes={"device": self._settings.device},
        )

    async def generate(self, request: GenerationRequest) -> AsyncGenerator[Chunk]:
        """Yield the reply as it is made; the last chunk carries the report."""
        arrived = self._clock.now()
        self.check()
        assert self._runtime is not None
        assert self._chat is not None
        require_known(request.adapter, {})
        if request.json_schema is not None:
            require_schema(request.json_schema)
        prompt = self._chat.encode(request)
        request = going_on(request, prompt.prefix_tokens)
        require_fit(request, len(prompt.ids), self._runtime.context_tokens)
        work = Work(
            ids=prompt.ids,
            max_new_tokens=request.max_new_tokens,
            sampling=request.sampling,
            json_schema=None if request.prefix else request.json_schema,
        )
        async with aclosing(self._serve(request, prompt, work, arrived)) as chunks:
            async for chunk in chunks:
                yield chunk

    def running(self) -> int:
        """Return how many requests are inside, waiting ones included."""
        return len(self._active) + len(self._waiting)

    def check(self) -> None:
        """Raise `EngineBroken` if the engine can no longer work."""
        if self._broken is not None:
            # A new one each time: raising the same object again would grow its traceback.
            raise EngineBroken(*self._broken.args)

    async def stop(self) -> None:
        """End all work and free the model."""
        if self._broken is None:
            self._break("the engine was stopped")
        if self._run is not None:
            await asyncio.wait([self._run])
        if self._sweeper is not None:
            self._sweeper.cancel()
        self._thread.shutdown(wait=False)
        self._runtime = self._chat = None

    async def _calibrate(self, runtime: Runtime) -> SoloProfile:
        """Return the solo cost, measured through the engine itself."""
        control = set(runtime.control.values())
        usable = [t for t, piece in enumerate(runtime.pieces) if piece and t not in control]

        async def run(trial: calibration.Trial, seed: int) -> Micros:
            ids = calibration.prompt(seed, trial.prompt_tokens, usable)
            request = GenerationRequest(messages=(), max_new_tokens=trial.output_tokens)
            work = Work(ids=ids, max_new_tokens=trial.output_tokens, ignore_end=True)
            took = Micros(0)
            async for chunk in self._serve(request, Prompt(ids, 0), work, self._clock.now()):
                took = chunk.report.compute_us if chunk.report else took
            return took

        return await calibration.calibrate(run, repeats=self._settings.calibration_repeats)

    async def _serve(
        self, request: GenerationRequest, prompt: Prompt, work: Work, arrived: Instant
    ) -> AsyncGenerator[Chunk]:
        """Yield the chunks of work that has been found to fit."""
        if len(self._waiting) >= self._settings.waiting_max and not self._has_room():
            msg = f"{len(self._waiting)} requests wait for this engine already; come back later"
            raise Overloaded(msg)
        assert self._runtime is not None
        stream = Stream(
            request,
            prompt,
            work,
            arrived=arrived,
            text=Detokeniser(self._runtime.pieces),
            end_ids=self._runtime.end_ids,
            chunk_us=Micros(self._settings.chunk_ms * MILLISECOND),
        )
        self._waiting.append(stream)
        try:
            self._admit()
            self._watch()
            while True:
                item = await stream.chunks.get()
                if not isinstance(item, Chunk):
                    raise item
                yield item
                if item.report is not None:
                    return
        finally:
            self._drop(stream)

    def _has_room(self) -> bool:
        return len(self._active) < self._settings.batch_max

    def _admit(self) -> None:
        """Fill the free places of the batch, in order of arrival."""
        runtime = self._runtime
        while runtime and self._waiting and self._has_room() and self._broken is None:
            if self._run is None:
                self._begin(runtime, self._place(self._waiting.popleft()))
            elif not runtime.idle():
                self._join(runtime, self._waiting.popleft())
            else:
                # `run` has not begun yet, or is about to return: the next sweep sees it settled.
                return

    def _join(self, runtime: Runtime, stream: Stream) -> None:
        """Add `stream` to the run under way."""
        try:
            stream.handle = runtime.add(stream.work)
        except RuntimeError as error:
            stream.fail(BadRequest(f"OpenVINO refuses the request: {error}"))
            return
        self._place(stream)

    def _place(self, stream: Stream) -> Stream:
        """Give `stream` a place in the batch."""
        now = self._clock.now()
        if not self._active:
            self._moved = now
        stream.submitted = now
        stream.cached_tokens = self._mirror.cached(stream.work.ids)
        self._active.append(stream)
        return stream

    def _begin(self, runtime: Runtime, stream: Stream) -> None:
        """Send the thread into the library with `stream`."""
        lead = Lead()
        stream.handle, stream.scheduled, self._lead = lead, stream.submitted, stream
        loop = asyncio.get_running_loop()
        self._run = loop.run_in_executor(self._thread, runtime.run, stream.work, lead.write)
        self._run.add_done_callback(self._ended)

    def _ended(self, run: asyncio.Future[None]) -> None:
        """Settle what is left after the thread has come back, and send it off again if needed."""
        self._run = None
        error = None if run.cancelled() else run.exception()
        if error is not None:
            self._break(f"OpenVINO's thread died: {error}")
        if self._broken is not None or self._runtime is None:
            return
        self._take(self._clock.now())
        missed = []
        for stream in list(self._active):
            if stream.made or stream is self._lead or stream.handle is None:
                self._active.remove(stream)
                stream.fail(stream.cut_off())
            else:
                # Added just after `run` had looked for the last time: nobody will compute it.
                stream.handle.cancel()
                stream.handle = stream.submitted = None
                self._active.remove(stream)
                missed.append(stream)
        self._lead = None
        self._waiting.extendleft(reversed(missed))
        self._runtime.settle()
        self._admit()

    def _watch(self) -> None:
        """Make sure that somebody sweeps."""
        if self._sweeper is None and self.running():
            self._sweeper = asyncio.get_running_loop().create_task(self._sweep())
            self._sweeper.add_done_callback(self._swept)

    async def _sweep(self) -> None:
        """Look at the engine every `poll_ms` while there is work."""
        while self.running():
            await asyncio.sleep(self._settings.poll_ms / 1_000)
            self._take(self._clock.now())
            self._admit()

    def _swept(self, task: asyncio.Task[None]) -> None:
        """Take note that the sweep ended; if by an error, the engine is broken."""
        self._sweeper = None
        error = None if task.cancelled() else task.exception()
        if error is not None:
            self._break(f"the engine's sweep died: {error!r}")
        # Work may have come between the sweep's last look and now.
        self._watch()

    def _take(self, now: Instant) -> None:
        """Take new ids from all, and send what is due."""
        stepped = False
        for stream in list(self._active):
            assert stream.handle is not None
            over = not stream.handle.running()
            ids = stream.handle.take()
            if ids:
                stepped = True
                self._advance(stream, ids, now)
            elif over:
                self._active.remove(stream)
                stream.fail(stream.cut_off())
        if stepped:
            self._moved = now
            for stream in self._active:
                stream.scheduled = stream.scheduled or now
        elif self._active and since(self._moved, now) > self._settings.stall_ms_max * MILLISECOND:
            self._break(f"OpenVINO made no token for {self._settings.stall_ms_max} ms")

    def _advance(self, stream: Stream, ids: list[int], now: Instant) -> None:
        """Take new ids of one request."""
        if not stream.made:
            self._mirror.insert(stream.work.ids)
            # No step's end was seen since it was added: all of its time was its own.
            stream.scheduled = stream.scheduled or stream.submitted
        stream.take(ids)
        if stream.finish is None:
            stream.flush(now)
            return
        self._release(stream)
        stream.close(now, self._profile)

    def _release(self, stream: Stream) -> None:
        """Free the place of a request that is over; stop it if the library goes on with it."""
        self._active.remove(stream)
        self._mirror.insert(stream.work.ids + stream.made[:-1])
        ended_itself = len(stream.made) >= stream.work.max_new_tokens or (
            stream.finish is FinishReason.STOP and stream.made[-1] in self._end_ids()
        )
        if not ended_itself and stream.handle is not None:
            stream.handle.cancel()

    def _end_ids(self) -> frozenset[int]:
        return self._runtime.end_ids if self._runtime else frozenset()

    def _drop(self, stream: Stream) -> None:
        """Forget `stream`, wherever it is; nothing happens if it has left already."""
        if stream in self._waiting:
            self._waiting.remove(stream)
        if stream in self._active:
            self._active.remove(stream)
            if stream.handle is not None:
                stream.handle.cancel()

    def _break(self, reason: str) -> None:
        """Refuse all further work, and tell everybody who waits."""
        self._broken = EngineBroken(reason)
        for stream in [*self._active, *self._waiting]:
            if stream.handle is not None:
                stream.handle.cancel()
            stream.fail(EngineBroken(reason))
        self._active.clear()
        self._waiting.clear()
