"""Writes docs/reference from the code, so that the two cannot disagree: `make docs`.

With --check, writes nothing, and fails if something would change.
"""

import ast
import inspect
import sys
from collections.abc import Callable, Iterator, Mapping
from enum import Enum
from itertools import pairwise
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from coordsvc.core.accounting import PART_MEANS
from coordsvc.core.dialogue import MOVES, WORKER, ReplyMode
from coordsvc.core.errors import CoordinationError
from coordsvc.core.offers import HOLDING, TRANSITIONS, OfferState
from coordsvc.settings import AppSettings
from coordsvc.telemetry.metrics import Metrics

REFERENCE = Path(__file__).parents[1] / "docs/reference"
NOTICE = "<!-- written by `make docs` from the code; edits here are lost -->"
END = "[*]"
"""Mermaid's dot: where a life begins or ends."""


def offer() -> str:
    """Return the page on an offer's life, drawn from the table of legal moves."""
    moves = [f"    {END} --> {next(iter(TRANSITIONS)).name}"]
    for state, onward in TRANSITIONS.items():
        moves += [f"    {state.name} --> {follow.name}" for follow in _in_order(onward)]
        moves += [] if onward else [f"    {state.name} --> {END}"]
    holding = ", ".join(state.name for state in _in_order(HOLDING))
    return _page(
        "An offer's life",
        "Drawn from `coordsvc.core.offers.TRANSITIONS`. A move that is not here is refused.",
        _mermaid(moves),
        f"These states hold resources: {holding}. The others are ends.",
    )


def turn() -> str:
    """Return the page on a turn's phases, drawn from the table of legal moves."""
    follows = {follow for onward in MOVES.values() for follow in onward}
    moves = [f"    {END} --> {phase.value}" for phase in MOVES if phase not in follows]
    for phase, onward in MOVES.items():
        named = sorted(END if follow is None else follow.value for follow in onward)
        moves += [f"    {phase.value} --> {name}" for name in named]
    workers = [f"| `{phase.value}` | {agent} |" for phase, agent in WORKER.items()]
    modes = ", ".join(f"`{mode.value}`" for mode in ReplyMode)
    return _page(
        "A turn's phases",
        "Drawn from `coordsvc.core.dialogue.MOVES`.",
        _mermaid(moves),
        "\n".join(["| phase | whose work |", "|---|---|", *workers]),
        f"Reply modes: {modes}.",
    )


def account() -> str:
    """Return the page on the parts of C_coord."""
    rows = [f"| `{part}` | {means} |" for part, means in PART_MEANS.items()]
    return _page(
        "The parts of C_coord",
        "From `coordsvc.core.accounting.PART_MEANS`. What they mean for you: "
        "[concepts](../concepts.md#where-a-turns-time-goes).",
        "\n".join(["| part | where the time went |", "|---|---|", *rows]),
    )


def errors() -> str:
    """Return the page on errors, drawn as the tree they form."""
    return _page(
        "Errors",
        "From `coordsvc.core.errors`. A retryable error may succeed elsewhere or later; "
        "a fatal one fails anywhere.",
        "\n".join(_tree(CoordinationError)),
    )


def metrics() -> str:
    """Return the page on metrics, from the registry that is exported."""
    rows = [
        f"| `{family.name}{'_total' if family.type == 'counter' else ''}` | {family.type} "
        f"| {family.documentation} |"
        for family in sorted(Metrics().registry.collect(), key=lambda family: family.name)
    ]
    return _page(
        "Metrics",
        "From `coordsvc.telemetry.metrics`, served at `/metrics` on `metrics.port`.",
        "\n".join(["| metric | kind | what it counts, and in what unit |", "|---|---|---|", *rows]),
    )


def settings() -> str:
    """Return the page on settings, from the tree that every start is checked against."""
    return _page(
        "Settings",
        "From `coordsvc.settings`. They stand under `applications[].args` of a Serve config file. "
        "An unknown field, or a value out of range, is refused at start with its path.",
        *dict.fromkeys(_sections(AppSettings, "")),
    )


PAGES: Mapping[str, Callable[[], str]] = {
    "offer.md": offer,
    "turn.md": turn,
    "account.md": account,
    "errors.md": errors,
    "metrics.md": metrics,
    "settings.md": settings,
}


def _page(title: str, *parts: str) -> str:
    return "\n\n".join([NOTICE, f"# {title}", *parts]) + "\n"


def _mermaid(lines: list[str]) -> str:
    return "\n".join(["```mermaid", "stateDiagram-v2", *lines, "```"])


def _in_order(states: frozenset[OfferState]) -> list[OfferState]:
    order: list[Enum] = list(OfferState)
    return sorted(states, key=order.index)


def _tree(error: type[CoordinationError], depth: int = 0) -> Iterator[str]:
    summary = (error.__doc__ or "").partition("\n")[0]
    yield f"{'  ' * depth}- `{error.__name__}`: {summary}"
    for kind in error.__subclasses__():
        if kind.__module__ == CoordinationError.__module__:
            yield from _tree(kind, depth + 1)


def _sections(model: type[BaseModel], path: str, given: object = None) -> Iterator[str]:
    """Yield a table for `model` and one for each model in it; its source holds the meanings.

    `given` is the default at this place of the tree, which may differ from the model's own.
    """
    reasons, kind = _reasons(model), model.model_fields.get("kind")
    rows, inner = [], list[Iterator[str]]()
    for name, field in model.model_fields.items():
        value = getattr(given, name) if isinstance(given, model) else _default(field)
        models = list(_models(field.annotation))
        inner += [_sections(each, f"{path}.{name}".lstrip("."), value) for each in models]
        if not models and name != "kind":
            meaning = reasons.get(name, "").replace("|", "\\|")
            rows.append(f"| `{name}` | {_shown(value)} | {meaning} |")
    title = f"`{path or 'args'}`" + (f" of kind `{kind.default}`" if kind else "")
    summary = " ".join(inspect.cleandoc(model.__doc__ or "").split())
    head = "| field | default | what it is, and why that default |\n|---|---|---|"
    yield "\n\n".join([f"## {title}", summary, *(["\n".join([head, *rows])] if rows else [])])
    for sections in inner:
        yield from sections


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    """Yield the models that a field may hold, those inside unions and annotations included."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    else:
        for part in get_args(annotation):
            yield from _models(part)


def _reasons(model: type[BaseModel]) -> dict[str, str]:
    """Return what stands under each field in the source, a subclass's word over its parent's."""
    found: dict[str, str] = {}
    for kind in reversed(model.__mro__):
        if not issubclass(kind, BaseModel) or kind is BaseModel:
            continue
        (body,) = ast.parse(inspect.getsource(kind)).body
        assert isinstance(body, ast.ClassDef)
        for field, below in pairwise(body.body):
            words = below.value if isinstance(below, ast.Expr) else None
            if (
                isinstance(field, ast.AnnAssign)
                and isinstance(field.target, ast.Name)
                and isinstance(words, ast.Constant)
            ):
                found[field.target.id] = " ".join(str(words.value).split())
    return found


def _default(field: FieldInfo) -> object:
    return ... if field.is_required() else field.get_default(call_default_factory=True)


def _shown(value: object) -> str:
    if value is ...:
        return "needed"
    return f"`{value.value if isinstance(value, Enum) else value}`"


def main() -> int:
    """Write every page, or check that each stands as it would be written."""
    check = "--check" in sys.argv[1:]
    stale = 0
    for name, page in PAGES.items():
        path, text = REFERENCE / name, page()
        if path.exists() and path.read_text() == text:
            continue
        stale += 1
        if check:
            print(f"docs/reference/{name} is not what the code says; run: make docs")
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
            print(f"docs/reference/{name} written")
    return 1 if check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
