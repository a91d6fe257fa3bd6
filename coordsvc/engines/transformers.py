"""The engine on Hugging Face transformers: slow and plain, and it takes any model.

How it works. Requests wait until the running batch is over; then up to `batch_max` of those at the
head of the queue that sample alike run together, in one thread, in lock-step. After each step the
thread hands over one id a row in a single call to the event loop, which makes text of them. A row
that is over (its end, its limit, its consumer gone) is told to the library at the next step; its
place stays empty until the batch ends. There is no prefix cache: `cached_tokens` is always 0.
Adapters: one base, and each row of a batch has its own adapter or none; who shares a batch does not
depend on it. Where there are adapters, the solo cost is that of a request under one.

Limits. A JSON schema is not enforced: it is added to the last message as an instruction, and the
reply is whatever the model makes of it. Nothing is raised; agents parse with tolerance. A seed
repeats a sampled reply because such a request runs alone.
"""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from dataclasses import replace

from coordsvc.clock import MonotonicClock
from coordsvc.core.errors import EngineBroken, Overloaded
from coordsvc.core.generation import (
    Chunk,
    EngineInfo,
    GenerationRequest,
    SoloProfile,
    going_on,
)
from coordsvc.core.units import MILLISECOND, Instant, Micros
from coordsvc.engines import calibration
from coordsvc.engines.adapters import require_known
from coordsvc.engines.chat_text import ChatText, Prompt, require_fit
from coordsvc.engines.json_schemas import require_schema
from coordsvc.engines.settings import TransformersSettings
from coordsvc.engines.stream import Stream, Work
from coordsvc.engines.transformers_runtime import Runtime, load
from coordsvc.ports import Clock

_NO_PROFILE = SoloProfile(start_us=0.0, prefill_us=0.0, decode_us=0.0)


class TransformersEngine:
    """The port `Engine` on transformers."""

    def __init__(
        self,
        settings: TransformersSettings,
        load: Callable[[TransformersSettings], Runtime] = load,
        clock: Clock | None = None,
    ) -> None:
        self._settings = settings
        self._load = load
        self._clock = clock or MonotonicClock()
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="transformers")
        self._runtime: Runtime | None = None
        self._chat: ChatText | None = None
        self._profile = _NO_PROFILE
        self._waiting: deque[Stream] = deque()
        self._active: list[Stream] = []
        self._worker: asyncio.Task[None] | None = None
        self._broken: str | None = "the engine has not been started"

    async def start(self) -> EngineInfo:
        """Load, warm up and calibrate."""
        loop = asyncio.get_running_loop()
        runtime = await loop.run_in_executor(self._thread, self._load, self._settings)
        self._runtime, self._chat = runtime, runtime.tokens.chat()
        self._broken = None
        declared = self._settings.profile
        self._profile = declared.profile() if declared else await self._calibrate(runtime)
        return EngineInfo(
            kind="transformers",
            model=self._settings.model,
            context_tokens=runtime.context_tokens,
            batch_max=self._settings.batch_max,
            profile=self._profile,
            attributes={
                "device": self._settings.device,
                "dtype": self._settings.dtype,
                "adapters": ",".join(sorted(self._settings.adapters)) or "none",
            },
        )

    async def generate(self, request: GenerationRequest) -> AsyncGenerator[Chunk]:
        """Yield the reply as it is made; the last chunk carries the report."""
        arrived = self._clock.now()
        self.check()
        assert self._runtime is not None
        assert self._chat is not None
        require_known(request.adapter, self._settings.adapters)
        request = _with_schema(request)
        prompt = self._chat.encode(request)
        request = going_on(request, prompt.prefix_tokens)
        require_fit(request, len(prompt.ids), self._runtime.context_tokens)
        work = Work(
            ids=prompt.ids,
            max_new_tokens=request.max_new_tokens,
            sampling=request.sampling,
            adapter=request.adapter,
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
            raise EngineBroken(self._broken)

    async def stop(self) -> None:
        """End all work and free the model."""
        if self._broken is None:
            self._break("the engine was stopped")
        if self._worker is not None:
            await asyncio.wait([self._worker])
        self._thread.shutdown(wait=False)
        self._runtime = self._chat = None

    async def _calibrate(self, runtime: Runtime) -> SoloProfile:
        """Return the solo cost, measured through the engine itself."""
        usable = runtime.tokens.usable()
        adapter = min(self._settings.adapters, default="")

        async def run(trial: calibration.Trial, seed: int) -> Micros:
            ids = calibration.prompt(seed, trial.prompt_tokens, usable)
            request = GenerationRequest(messages=(), max_new_tokens=trial.output_tokens)
            work = Work(
                ids=ids, max_new_tokens=trial.output_tokens, ignore_end=True, adapter=adapter
            )
            took = Micros(0)
            async for chunk in self._serve(request, Prompt(ids, 0), work, self._clock.now()):
                took = chunk.report.compute_us if chunk.report else took
            return took

        return await calibration.calibrate(run, repeats=self._settings.calibration_repeats)

    async def _serve(
        self, request: GenerationRequest, prompt: Prompt, work: Work, arrived: Instant
    ) -> AsyncGenerator[Chunk]:
        """Yield the chunks of work that has been found to fit."""
        if len(self._waiting) >= self._settings.waiting_max and self._active:
            msg = f"{len(self._waiting)} requests wait for this engine already; come back later"
            raise Overloaded(msg)
        assert self._runtime is not None
        stream = Stream(
            request,
            prompt,
            work,
            arrived=arrived,
            text=self._runtime.text(),
            end_ids=self._runtime.end_ids,
            chunk_us=Micros(self._settings.chunk_ms * MILLISECOND),
        )
        self._waiting.append(stream)
        try:
            self._watch()
            while True:
                item = await stream.chunks.get()
                if not isinstance(item, Chunk):
                    raise item
                yield item
                if item.report is not None:
                    return
        finally:
            if stream in self._waiting:
                self._waiting.remove(stream)
            # A running row is ended at its next step, as nobody is listed as its reader.
            if stream in self._active:
                self._active.remove(stream)

    def _watch(self) -> None:
        """Make sure that somebody works."""
        if self._worker is None and self._waiting and self._broken is None:
            self._worker = asyncio.get_running_loop().create_task(self._work())
            self._worker.add_done_callback(self._rest)

    def _rest(self, task: asyncio.Task[None]) -> None:
        """Take note that the work ended; if by an error, the engine is broken."""
        self._worker = None
        error = None if task.cancelled() else task.exception()
        if error is not None:
            self._break(f"transformers' thread died: {error!r}")
        # Work may have come between the last look and now.
        self._watch()

    async def _work(self) -> None:
        """Run batch after batch while somebody waits."""
        loop = asyncio.get_running_loop()
        while self._waiting:
            if len(self._waiting) < self._settings.batch_max and self._settings.gather_ms:
                await asyncio.sleep(self._settings.gather_ms / 1_000)
            batch = self._gather()
            runtime = self._runtime
            if not batch or runtime is None:
                return
            run = _Batch(batch, loop, self._stepped)
            works = [stream.work for stream in batch]
            await loop.run_in_executor(self._thread, runtime.run, works, run.step)
            # Steps handed over by the thread come before its result: these rows never ended.
            for stream in [stream for stream in batch if stream in self._active]:
                self._active.remove(stream)
                stream.fail(stream.cut_off())

    def _gather(self) -> list[Stream]:
        """Take from the queue's head those who may run together."""
        batch: list[Stream] = []
        now = self._clock.now()
        while self._waiting and len(batch) < self._settings.batch_max:
            if batch and not _alike(batch[0].work, self._waiting[0].work):
                break
            stream = self._waiting.popleft()
            stream.submitted = stream.scheduled = now
            batch.append(stream)
        self._active = list(batch)
        return batch

    def _stepped(self, batch: "_Batch", ids: list[int]) -> None:
        """Take the newest id of every row."""
        now = self._clock.now()
        for row, (stream, token) in enumerate(zip(batch.streams, ids, strict=True)):
            if batch.done[row]:
                continue
            if stream not in self._active:
                batch.done[row] = True
                continue
            stream.take([token])
            if stream.finish is None:
                stream.flush(now)
                continue
            batch.done[row] = True
            self._active.remove(stream)
            stream.close(now, self._profile)

    def _break(self, reason: str) -> None:
        """Refuse all further work, and tell everybody who waits."""
        self._broken = reason
        for stream in [*self._active, *self._waiting]:
            stream.fail(EngineBroken(reason))
        self._active.clear()
        self._waiting.clear()


class _Batch:
    """Rows that run together. `step` is called by the thread, `done` is written by the loop."""

    def __init__(
        self,
        streams: list[Stream],
        loop: asyncio.AbstractEventLoop,
        stepped: Callable[["_Batch", list[int]], None],
    ) -> None:
        self.streams = streams
        self.done = [False] * len(streams)
        self._made = 0
        self._loop = loop
        self._stepped = stepped

    def step(self, ids: list[int]) -> list[bool]:
        """Hand the newest ids to the loop; answer which rows are done."""
        self._made += 1
        self._loop.call_soon_threadsafe(self._stepped, self, ids)
        return [
            done or self._made >= stream.work.max_new_tokens
            for done, stream in zip(self.done, self.streams, strict=True)
        ]


def _alike(first: Work, other: Work) -> bool:
    """Tell whether two requests may run in one batch."""
    if first.ignore_end or other.ignore_end:
        return False
    if first.sampling.temperature == other.sampling.temperature == 0:
        return True
    repeatable = first.sampling.seed is not None or other.sampling.seed is not None
    return not repeatable and replace(first.sampling, stop=()) == replace(other.sampling, stop=())


def _with_schema(request: GenerationRequest) -> GenerationRequest:
    """Return the request with its schema, if it has one, as an instruction in the last message."""
    if request.json_schema is None or not request.messages:
        return request
    require_schema(request.json_schema)
    *earlier, last = request.messages
    asked = f"{last.text}\n\nAnswer with one JSON value only, of this schema: {request.json_schema}"
    return replace(request, messages=(*earlier, replace(last, text=asked)))
