"""The libraries of the `train` extra, imported when they are needed; the only importer of most.

Serving needs none of them, and they take seconds to import: so no module of ours does at its top.
"""

from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import coordsvc
from coordsvc.core.errors import BadRequest

NAMES = ("torch", "transformers", "peft", "accelerate", "bitsandbytes")
"""Whose versions stand in checkpoints and beside adapters."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Libraries:
    """What training is written with. All untyped, so `Any`."""

    torch: Any
    transformers: Any
    peft: Any
    accelerate: Any
    safetensors: Any
    """`safetensors.torch`."""


@cache
def libraries() -> Libraries:
    """Return the libraries; raise `BadRequest` if the extra is not installed."""
    try:
        # Here and not above: see the module's words.
        import accelerate  # noqa: PLC0415
        import peft  # noqa: PLC0415
        import safetensors.torch  # noqa: PLC0415
        import torch  # noqa: PLC0415
        import transformers  # noqa: PLC0415
    except ImportError as error:
        msg = f"training needs the extra `train` ({error}); try: pip install 'coordsvc[train]'"
        raise BadRequest(msg) from error
    transformers.utils.logging.disable_progress_bar()
    return Libraries(
        torch=torch,
        transformers=transformers,
        peft=peft,
        accelerate=accelerate,
        safetensors=safetensors.torch,
    )


def versions() -> dict[str, str]:
    """Return the versions of what a training's numbers depend on."""
    return {"coordsvc": coordsvc.__version__, **{name: _version(name) for name in NAMES}}


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"
