"""OpenVINO GenAI, behind the few words that the engine needs. The only module that imports it.

What was learnt of openvino-genai 2026.4:

* `step()` keeps Python's global lock while it computes, `generate()` does not. So the engine never
  steps: it calls `generate()` with one request, and adds the others to the same pipeline while
  that runs; `generate()` goes on until *all* are finished. A ticker beside 16 requests then wakes
  within 7 ms; beside `step()` it waits for the whole step (16 to 90 ms).
* `generate()` refuses to begin while any request is in the pipeline; `add_request` and reading a
  handle are safe from another thread at any time.
* A schema that the grammar compiler refuses fails the step, and with it the whole batch.
* `decode` drops unfinished UTF-8 without a trace, so text is made from the vocabulary's bytes.
"""

import secrets
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from coordsvc.core.errors import EngineBroken
from coordsvc.engines.adapters import Adapter
from coordsvc.engines.gguf_merge import merged
from coordsvc.engines.models import context_tokens, find, for_writing
from coordsvc.engines.settings import OpenVinoSettings
from coordsvc.engines.stream import Handle, Work


class Lead:
    """The handle of the request that `run` began with; its ids are told, not fetched.

    `write` is called by the library's thread, all else by the loop's. A deque's ends are safe.
    """

    def __init__(self) -> None:
        self._made: deque[int] = deque()
        self._going = True

    def write(self, ids: list[int]) -> bool:
        """Take new ids; answer whether to go on."""
        self._made.extend(ids)
        return self._going

    def take(self) -> list[int]:
        """Return the ids made since the last call."""
        made = self._made
        return [made.popleft() for _ in range(len(made))]

    def running(self) -> bool:
        """Tell True always: its end shows in its ids, or in `run` returning."""
        return True

    def cancel(self) -> None:
        """Make the next `write` answer that it is enough."""
        self._going = False


class Runtime(Protocol):
    """A loaded model and its pipeline. Only `run` computes, and only one `run` at a time."""

    pieces: list[bytes]
    control: dict[str, int]
    end_ids: frozenset[int]
    context_tokens: int

    def encode(self, text: str) -> list[int]:
        """Return the ids of `text`, control tokens parsed, none added."""
        ...

    def render(self, messages: list[dict[str, str]]) -> str:
        """Return the chat template's text, the assistant's beginning included."""
        ...

    def run(self, work: Work, write: Callable[[list[int]], bool]) -> None:
        """Compute `work` and all that is added meanwhile; return when nothing is left.

        Called in a thread of its own. Each new id of `work` goes to `write`, which answers whether
        to go on. `run` must not be called while anything is in the pipeline.
        """
        ...

    def add(self, work: Work) -> Handle:
        """Add work to the present `run`."""
        ...

    def idle(self) -> bool:
        """Tell whether the pipeline is empty: before `run` has begun, and once it is ending."""
        ...

    def settle(self) -> None:
        """Empty the pipeline of work that was cancelled after `run` had ended."""
        ...


def load(settings: OpenVinoSettings, adapter: Adapter | None = None) -> Runtime:
    """Return the model, loaded, with the adapter in its weights if there is one.

    Raises `EngineBroken` if it cannot be.
    """
    path = Path(find(settings.model, hub=False))
    try:
        with merged(path, adapter) if adapter else for_writing(path) as usable:
            return OpenVinoRuntime(settings, str(usable), context_tokens(path))
    except (RuntimeError, ImportError) as error:
        msg = f"OpenVINO cannot load {path} on {settings.device}: {error}"
        raise EngineBroken(msg) from error


class OpenVinoRuntime:
    """The real pipeline."""

    def __init__(self, settings: OpenVinoSettings, path: str, context: int | None) -> None:
        # Here and not above, so that this module's types can be had without the library.
        import openvino  # noqa: PLC0415
        import openvino_genai  # noqa: PLC0415

        self._genai: Any = openvino_genai
        self._tensor: Any = openvino.Tensor
        scheduler = openvino_genai.SchedulerConfig()
        scheduler.num_kv_blocks = settings.cache_tokens // settings.block_tokens
        scheduler.max_num_seqs = settings.batch_max
        scheduler.max_num_batched_tokens = settings.batched_tokens_max
        scheduler.enable_prefix_caching = True
        scheduler.dynamic_split_fuse = True
        properties = {"INFERENCE_NUM_THREADS": settings.threads} if settings.threads else {}
        self._pipeline: Any = openvino_genai.ContinuousBatchingPipeline(
            path, scheduler, settings.device, properties
        )
        self._tokenizer: Any = self._pipeline.get_tokenizer()
        self._next_id = 0
        defaults = self._pipeline.get_config()
        ends = {int(token) for token in defaults.stop_token_ids} | {int(defaults.eos_token_id)}
        self.end_ids = frozenset(token for token in ends if token >= 0)
        limits = [settings.cache_tokens, context or settings.cache_tokens]
        self.context_tokens = min([*limits, settings.context_tokens or settings.cache_tokens])
        self.pieces, self.control = self._vocabulary()

    def _vocabulary(self) -> tuple[list[bytes], dict[str, int]]:
        """Return each id's bytes (none for control tokens), and the control tokens with their ids.

        A control token is one that decoding leaves out when told to skip them.
        """
        vocabulary: dict[bytes, int] = self._tokenizer.get_vocab()
        size = max(vocabulary.values()) + 1
        ids = [[token] for token in range(size)]
        shown = self._tokenizer.decode(ids, skip_special_tokens=False)
        kept = self._tokenizer.decode(ids, skip_special_tokens=True)
        control = {shown[token]: token for token in range(size) if shown[token] != kept[token]}
        pieces = [b""] * size
        hidden = set(control.values())
        for piece, token in vocabulary.items():
            if token not in hidden:
                pieces[token] = bytes(piece)
        return pieces, control

    def encode(self, text: str) -> list[int]:
        """Return the ids of `text`, control tokens parsed, none added."""
        ids = self._tokenizer.encode(text, add_special_tokens=False).input_ids.data
        return [int(token) for token in ids[0]] if ids.size else []

    def render(self, messages: list[dict[str, str]]) -> str:
        """Return the chat template's text, the assistant's beginning included."""
        return str(self._tokenizer.apply_chat_template(messages, add_generation_prompt=True))

    def run(self, work: Work, write: Callable[[list[int]], bool]) -> None:
        """Compute until nothing is left, without Python's global lock."""
        streamer = _streamer(self._genai, write)
        self._pipeline.generate([self._ids(work)], [self._config(work)], streamer)

    def add(self, work: Work) -> Handle:
        """Add work to the present `run`."""
        self._next_id += 1
        # generate() numbers its own request 0.
        handle = self._pipeline.add_request(self._next_id, self._ids(work), self._config(work))
        return _PipelineHandle(handle, self._genai.GenerationStatus.RUNNING)

    def idle(self) -> bool:
        """Tell whether the pipeline is empty."""
        return not self._pipeline.has_non_finished_requests()

    def settle(self) -> None:
        """Step until what was cancelled is gone; that computes nothing."""
        while self._pipeline.has_non_finished_requests():
            self._pipeline.step()

    def _ids(self, work: Work) -> Any:
        return self._tensor(np.array([work.ids], dtype=np.int64))

    def _config(self, work: Work) -> Any:
        sampling = work.sampling
        config = self._genai.GenerationConfig(
            max_new_tokens=work.max_new_tokens,
            ignore_eos=work.ignore_end,
            # Its own list would end the calibration runs too, whatever ignore_eos says.
            stop_token_ids=set() if work.ignore_end else set(self.end_ids),
        )
        if sampling.temperature > 0:
            config.do_sample = True
            config.temperature = sampling.temperature
            config.top_p = sampling.top_p
            seed = secrets.randbits(31) if sampling.seed is None else sampling.seed
            config.rng_seed = seed % (1 << 63)
        if work.json_schema is not None:
            config.structured_output_config = self._genai.StructuredOutputConfig(
                json_schema=work.json_schema
            )
        return config


class _PipelineHandle:
    """A request that was added beside the one `generate()` began with."""

    __slots__ = ("_handle", "_running")

    def __init__(self, handle: Any, running: Any) -> None:
        self._handle = handle
        self._running = running

    def take(self) -> list[int]:
        """Return the ids made since the last call."""
        ids: list[int] = []
        while self._handle.can_read():
            for output in self._handle.read().values():
                ids += output.generated_ids
        return ids

    def running(self) -> bool:
        """Tell whether more may come."""
        return bool(self._handle.get_status() == self._running)

    def cancel(self) -> None:
        """End it after the present step."""
        self._handle.cancel()


def _streamer(genai: Any, write: Callable[[list[int]], bool]) -> Any:
    """Return a streamer that hands each new id to `write`."""
    going, cancelled = genai.StreamingStatus.RUNNING, genai.StreamingStatus.CANCEL

    class Streamer(genai.StreamerBase):  # type: ignore[misc]
        """Called once a step by the library's own thread."""

        def write(self, token: int | list[int]) -> Any:
            """Pass new ids on."""
            return going if write([token] if isinstance(token, int) else token) else cancelled

        def end(self) -> None:
            """Take note of nothing: the last id has been told already."""

    return Streamer()
