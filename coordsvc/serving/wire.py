"""Calls over Serve's handles: how they are made cheap, and how they end."""

from collections.abc import AsyncGenerator, Awaitable
from contextlib import asynccontextmanager
from typing import Any, TypeVar, cast

from grpc import StatusCode
from grpc.aio import AioRpcError, UsageError
from ray.exceptions import ActorDiedError, ActorUnavailableError, RayActorError
from ray.serve.exceptions import BackPressureError, DeploymentUnavailableError
from ray.serve.handle import DeploymentHandle

from coordsvc.core.errors import Overloaded, RetryableError
from coordsvc.serving.pool import Failure

T = TypeVar("T")


DEAD = (
    ActorDiedError,
    ActorUnavailableError,
    RayActorError,
    DeploymentUnavailableError,
    UsageError,  # Serve closed the channel to it after the router had chosen it
)
"""What a handle raises when the replica at its other end has died: seen in some thousand kills."""


def quick(handle: DeploymentHandle[Any], method: str, *, stream: bool = False) -> Any:
    """Return the handle's `method`, ready to be called often; plain pickle is the cheapest way."""
    return handle.options(
        method_name=method,
        stream=stream,
        request_serialization="pickle",
        response_serialization="pickle",
    )


@asynccontextmanager
async def translated(gone: type[RetryableError], what: str) -> AsyncGenerator[None]:
    """Raise `gone` for a dead replica, and `Overloaded` for a full queue, in the body's place."""
    try:
        yield
    except DEAD as error:
        raise gone(f"{what}: {type(error).__name__}") from error
    except AioRpcError as error:
        if error.code() is not StatusCode.CANCELLED:
            raise
        # the server was shut down before it began; Serve has words of its own for other ends only
        raise gone(f"{what}: it was stopped") from error
    except BackPressureError as error:
        raise Overloaded(f"{what}: its queue is full") from error


def unwrap(answer: T | Failure) -> T:
    """Return the answer; raise the error it carries instead, if it does."""
    if isinstance(answer, Failure):
        raise answer.error
    return answer


async def unary(call: Any) -> Any:
    """Return a unary call's answer, unwrapped; whoever gives up on it cancels it."""
    done = False
    try:
        answer = await cast("Awaitable[Any]", call)
        done = True
        return unwrap(answer)
    finally:
        if not done:
            call.cancel()


async def streamed(call: Any) -> AsyncGenerator[Any]:
    """Yield a streaming call's answers, unwrapped; whoever leaves early cancels it."""
    done = False
    try:
        async for answer in call:
            yield unwrap(answer)
        done = True
    finally:
        if not done:
            call.cancel()
