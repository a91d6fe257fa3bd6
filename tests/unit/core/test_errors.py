"""The tree of errors is the one that the module draws, and its leaves survive a journey."""

import pickle
import re

import pytest

from coordsvc.core import errors
from coordsvc.core.errors import CoordinationError, FatalError, ProtocolError, RetryableError

DRAWN = re.compile(r"^( *)\* `(\w+)`", re.MULTILINE)


def tree(root: type[CoordinationError]) -> dict[str, str | None]:
    """Return each class's parent, by name."""
    parents: dict[str, str | None] = {}
    ours = [child for child in root.__subclasses__() if child.__module__ == errors.__name__]
    for child in ours:  # other modules may add leaves of their own
        parents |= {child.__name__: root.__name__, **tree(child)}
    return parents


def test_the_tree_is_the_one_that_is_drawn() -> None:
    drawn: dict[str, str | None] = {}
    path: list[str] = []
    for indent, name in DRAWN.findall(errors.__doc__ or ""):
        path = [*path[: len(indent) // 4], name]
        drawn[name] = path[-2] if len(path) > 1 else None
    assert drawn == {"CoordinationError": None, **tree(CoordinationError)}


@pytest.mark.parametrize("name", list(tree(CoordinationError)))
def test_an_error_arrives_as_it_left(name: str) -> None:
    error = getattr(errors, name)("what, where, and what would be right")
    arrived = pickle.loads(pickle.dumps(error))
    assert type(arrived) is type(error)
    assert arrived.args == error.args


def test_an_error_is_either_a_broken_rule_or_worth_a_retry_or_final() -> None:
    for name in tree(CoordinationError):
        kinds = (ProtocolError, RetryableError, FatalError)
        assert sum(issubclass(getattr(errors, name), kind) for kind in kinds) == 1
