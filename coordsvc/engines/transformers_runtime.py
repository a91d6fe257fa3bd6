"""Hugging Face transformers, behind the few words that the engine needs; the only importer."""

import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from coordsvc.core.errors import EngineBroken
from coordsvc.engines.adapters import Adapter, read_all, require_shapes
from coordsvc.engines.hf_tokens import HfText, HfTokens
from coordsvc.engines.models import find
from coordsvc.engines.settings import TransformersSettings
from coordsvc.engines.stream import Text, Work

Step = Callable[[list[int]], list[bool]]
"""Takes each row's newest id; answers for each row whether it is done."""


class Runtime(Protocol):
    """A loaded model. Only one `run` at a time."""

    tokens: HfTokens
    end_ids: frozenset[int]
    context_tokens: int

    def text(self) -> Text:
        """Return what makes text of one reply's ids."""
        ...

    def run(self, batch: list[Work], step: Step) -> None:
        """Compute the batch in lock-step; return when every row is done. Called in a thread."""
        ...


def load(settings: TransformersSettings) -> Runtime:
    """Return the model, loaded; raise `EngineBroken` if it cannot be."""
    model = find(settings.model, hub=True)
    # Before the base, which takes longest to load.
    adapters = read_all(settings.adapters, model)
    try:
        return TransformersRuntime(settings, model, adapters)
    except (ImportError, OSError, RuntimeError, ValueError) as error:
        msg = f"transformers cannot load {model}: {error}"
        raise EngineBroken(msg) from error


class TransformersRuntime:
    """The real model."""

    def __init__(
        self, settings: TransformersSettings, model: Path | str, adapters: tuple[Adapter, ...] = ()
    ) -> None:
        # Here and not above, so that this module's types can be had without the libraries.
        import torch  # noqa: PLC0415
        import transformers  # noqa: PLC0415

        self._torch: Any = torch
        self._library: Any = transformers
        torch.set_num_threads(settings.threads)
        transformers.utils.logging.disable_progress_bar()
        where = {"pretrained_model_name_or_path": str(model)}
        if isinstance(model, Path) and model.suffix == ".gguf":
            where = {"pretrained_model_name_or_path": str(model.parent), "gguf_file": model.name}
        self._tokenizer: Any = transformers.AutoTokenizer.from_pretrained(**where)
        weights = getattr(torch, settings.dtype)
        loaded = transformers.AutoModelForCausalLM.from_pretrained(**where, dtype=weights)
        self._adapted = bool(adapters)
        if adapters:
            loaded = _with_adapters(loaded, adapters, model)
        self._model: Any = loaded.to(settings.device).eval()
        self.tokens = HfTokens(self._tokenizer)
        self.end_ids = _end_ids(self._model.generation_config, self._tokenizer)
        limit = int(self._model.config.max_position_embeddings)
        self.context_tokens = min(limit, settings.context_tokens or limit)

    def text(self) -> Text:
        """Return what makes text of one reply's ids."""
        return HfText(self._tokenizer)

    def run(self, batch: list[Work], step: Step) -> None:
        """Compute the batch in lock-step."""
        torch = self._torch
        longest = max(len(work.ids) for work in batch)
        # On the left: every row's newest id is then its last column.
        filler = min(self.end_ids, default=0)
        rows = [[filler] * (longest - len(work.ids)) + work.ids for work in batch]
        masks = [[0] * (longest - len(work.ids)) + [1] * len(work.ids) for work in batch]
        first = batch[0]
        if first.sampling.temperature > 0:
            seed = first.sampling.seed
            torch.manual_seed(secrets.randbits(31) if seed is None else seed % (1 << 63))
        # Row by row; peft computes each row's own product and adds it to the base's.
        names = [work.adapter or "__base__" for work in batch]
        with torch.inference_mode():
            self._model.generate(
                input_ids=torch.tensor(rows, device=self._model.device),
                attention_mask=torch.tensor(masks, device=self._model.device),
                generation_config=self._config(batch, filler),
                stopping_criteria=self._library.StoppingCriteriaList([_Stepper(torch, step)]),
                **({"adapter_names": names} if self._adapted else {}),
            )

    def _config(self, batch: list[Work], filler: int) -> Any:
        """Return the sampling of the batch: that of its first request, as all have the same."""
        sampling = batch[0].sampling
        most = max(work.max_new_tokens for work in batch)
        chosen: dict[str, Any] = {"do_sample": False}
        if sampling.temperature > 0:
            chosen = {"do_sample": True, "temperature": sampling.temperature, "top_k": 0}
            chosen["top_p"] = sampling.top_p
        if batch[0].ignore_end:
            chosen["min_new_tokens"] = most
        return self._library.GenerationConfig(
            max_new_tokens=most, eos_token_id=sorted(self.end_ids), pad_token_id=filler, **chosen
        )


def _with_adapters(loaded: Any, adapters: tuple[Adapter, ...], model: Path | str) -> Any:
    """Return the base with every adapter beside its layers."""
    try:
        from peft import PeftModel  # noqa: PLC0415
    except ImportError as error:
        msg = f"adapters need peft ({error}); try: pip install 'coordsvc[transformers]'"
        raise EngineBroken(msg) from error
    shapes = {
        name: tuple(layer.weight.shape)
        for name, layer in loaded.named_modules()
        if getattr(layer, "weight", None) is not None
    }
    for adapter in adapters:
        require_shapes(adapter, shapes, model)
    first, *others = adapters
    adapted = PeftModel.from_pretrained(loaded, str(first.folder), adapter_name=first.agent)
    for adapter in others:
        adapted.load_adapter(str(adapter.folder), adapter_name=adapter.agent)
    for adapter in adapters:
        _require_taken(adapted, adapter)
    return adapted


def _require_taken(adapted: Any, adapter: Adapter) -> None:
    """Raise `EngineBroken` if peft has left out a layer, which it does without a word."""
    taken = {
        name.removeprefix("base_model.model.")
        for name, layer in adapted.named_modules()
        if adapter.agent in getattr(layer, "lora_A", ())
    }
    if left := sorted(set(adapter.layers()) - taken):
        msg = (
            f"engine.adapters.{adapter.agent} ({adapter.folder}): its weights have {left[0]}, "
            "which the target_modules of its adapter_config.json leave out; train or save it anew"
        )
        raise EngineBroken(msg)


class _Stepper:
    """A stopping criterion: called after each step, it passes ids on and ends rows."""

    def __init__(self, torch: Any, step: Step) -> None:
        self._torch = torch
        self._step = step

    def __call__(self, input_ids: Any, scores: Any, **_: Any) -> Any:
        """Return which rows are done."""
        del scores
        done = self._step(input_ids[:, -1].tolist())
        return self._torch.tensor(done, dtype=self._torch.bool, device=input_ids.device)


def _end_ids(config: Any, tokenizer: Any) -> frozenset[int]:
    """Return the ids that end a reply."""
    ends = config.eos_token_id if config.eos_token_id is not None else tokenizer.eos_token_id
    listed = ends if isinstance(ends, list) else [ends]
    return frozenset(int(token) for token in listed if token is not None)
