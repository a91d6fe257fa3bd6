"""Every way to fail, in OpenAI's shape.

Two exceptions of the door's own: `Rejection` carries the answer to give; `ClientGone` means that
nobody is left to answer. Everything else that `explain` does not know is a bug, and a 500.
"""

import math
from dataclasses import dataclass, field

from pydantic_core import to_json

from coordsvc.core.errors import (
    BadRequest,
    ContextTooLong,
    CoordinationError,
    DeadlinePassed,
    EngineBroken,
    Overloaded,
    RetryableError,
    UnknownModel,
)
from coordsvc.core.units import SECOND

INVALID = "invalid_request_error"
SERVER = "server_error"
RATE = "rate_limit_error"

Headers = tuple[tuple[bytes, bytes], ...]

JSON_TYPE = (b"content-type", b"application/json")
CLOSE: Headers = ((b"connection", b"close"),)
"""For a body that never ends; nothing of it lies unread, so the answer still gets through."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One error as the client sees it. `param` is the path of the field that is wrong."""

    status: int
    message: str
    type: str = INVALID
    param: str | None = None
    code: str | None = None
    headers: Headers = ()

    def body(self) -> bytes:
        """Return the JSON of OpenAI's error object."""
        return to_json(
            {
                "error": {
                    "message": self.message,
                    "type": self.type,
                    "param": self.param,
                    "code": self.code,
                }
            }
        )


@dataclass(slots=True)
class Rejection(Exception):
    """The request is not served; `problem` says why."""

    problem: Problem


@dataclass(slots=True)
class ClientGone(Exception):
    """The client hung up, or stopped reading; its connection is not worth another byte."""

    reason: str = field(default="hung up")


def invalid(message: str, param: str | None = None, code: str | None = None) -> Rejection:
    """Return the refusal of a request that says something wrong at `param`."""
    return Rejection(Problem(status=400, message=message, param=param, code=code))


def busy(message: str, retry_after_s: int) -> Problem:
    """Return the answer to one client too many."""
    return Problem(
        status=429,
        message=message,
        type=RATE,
        code="rate_limit_exceeded",
        headers=_retry_after(retry_after_s),
    )


def unavailable(message: str, code: str, retry_after_s: int) -> Problem:
    """Return the answer of a service that cannot work now."""
    return Problem(
        status=503,
        message=message,
        type=SERVER,
        code=code,
        headers=_retry_after(retry_after_s),
    )


def explain(error: Exception, retry_after_s: int) -> Problem:
    """Return what to tell the client; of unexpected errors only that there was one."""
    match error:
        case Rejection():
            return error.problem
        case BadRequest():
            return _bad_request(error)
        case Overloaded():
            wait = math.ceil(error.after / SECOND) or retry_after_s
            return busy(f"too many turns at once: {_words(error)}", wait)
        case DeadlinePassed():
            message = f"the turn's deadline passed: {_words(error)}"
            return Problem(status=504, message=message, type=SERVER, code="deadline_passed")
        case RetryableError() | EngineBroken():
            message = "the turn was interrupted, and may be sent again"
            return unavailable(message, "interrupted", retry_after_s)
        case _:
            message = "an unexpected error; it has been logged under this response's X-Request-ID"
            return Problem(status=500, message=message, type=SERVER, code="internal_error")


def is_ours_to_fix(error: Exception) -> bool:
    """Tell whether `error` belongs in the log: a bug or a broken engine, not a refusal."""
    expected = BadRequest | DeadlinePassed | RetryableError
    return not isinstance(error, Rejection | expected)


def _bad_request(error: BadRequest) -> Problem:
    match error:
        case ContextTooLong():
            code, param = "context_length_exceeded", "messages"
            return Problem(status=400, message=_words(error), param=param, code=code)
        case UnknownModel():
            return Problem(status=404, message=_words(error), param="model", code="model_not_found")
        case _:
            return Problem(status=400, message=_words(error))


def _words(error: CoordinationError) -> str:
    return str(error) or type(error).__name__


def _retry_after(wait_s: int) -> Headers:
    return ((b"retry-after", str(wait_s).encode()),)
