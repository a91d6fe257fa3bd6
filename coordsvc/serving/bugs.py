"""How a bug is told in a log: where it is, and not in its own words, which may repeat a dialogue.

`ValueError: invalid literal for int() with base 10: 'the user's own words'`: a library's errors say
what they were given. Ours do not. With `http.log_text` everything is said.
"""

import logging
import traceback
from collections.abc import Iterator

from coordsvc.core.errors import CoordinationError
from coordsvc.serving.pool import Failure

log = logging.getLogger(__name__)

CHAIN_MAX = 8
"""Errors that led to each other, and are told: the last ones."""
FRAMES_MAX = 50
"""Of each: the innermost."""
ABOUT_CODE = (CoordinationError, AssertionError, AttributeError, ImportError, NameError)
"""What these say is about the program, and not about what it was given."""


def bug_told(error: BaseException, *, words: bool) -> str:
    """Return the error's traceback; without `words`, what may repeat a dialogue is left out."""
    if words:
        return "".join(traceback.format_exception(error)).rstrip()
    return "\nwhich led to:\n".join(reversed([_alone(one) for one in _chain(error)]))


def bug_answered(error: Exception, where: str, *, words: bool) -> Failure:
    """Log a bug in a replica, and return what its caller is told of it."""
    log.error("%s failed\n%s", where, bug_told(error, words=words))
    return Failure(CoordinationError(f"{where} failed with {_name(error)}; its log says where"))


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Yield the error and what led to it, as Python tells them."""
    one: BaseException | None = error
    for _ in range(CHAIN_MAX):
        if one is None:
            return
        yield one
        one = one.__cause__ or (None if one.__suppress_context__ else one.__context__)


def _alone(error: BaseException) -> str:
    frames = "".join(traceback.format_tb(error.__traceback__)[-FRAMES_MAX:])
    said = f": {error}" if isinstance(error, ABOUT_CODE) else ""
    return f"{frames}{_name(error)}{said}"


def _name(error: BaseException) -> str:
    return type(error).__qualname__
