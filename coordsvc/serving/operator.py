"""An operator's way to the allocator of a running application: through its Ray, not over HTTP.

Whoever may reach a cluster's Ray may do anything there already; the HTTP door need not know of it.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import ray
from ray._private.authentication.authentication_token_setup import (
    maybe_enable_token_auth_if_token_available,
)
from ray.actor import ActorHandle
from ray.exceptions import GetTimeoutError, RayActorError

from coordsvc.core.errors import BadRequest, CoordinationError
from coordsvc.core.units import NodeId
from coordsvc.serving.ray_pool import NAMESPACE, allocator_name, find

ANSWER_S = 10.0
"""An allocator that was just killed is back within some seconds."""


class Operator:
    """Looks at one application's pool, and changes how it is shared."""

    def __init__(self, app: str) -> None:
        self._app = app
        found = find(allocator_name(app))
        if found is None:
            raise BadRequest(f"no application {app!r} runs there; there are: {_apps()}")
        self._allocator: ActorHandle[Any] = found

    def status(self) -> dict[str, Any]:
        """Return what the pool looks like now."""
        told: dict[str, Any] = self._ask("status")
        return told

    def explain(self, **asked: str) -> Any:
        """Return why an agent, a desk or a turn waits; raise `BadRequest` if there is none such."""
        told, why = self._ask("explain", **asked)
        if why is not None:
            raise BadRequest(why)
        return told

    def choose_policy(self, name: str) -> None:
        """Have offers made by another policy from now on; raise `BadRequest` if there is none."""
        self._tell("choose_policy", name)

    def drain(self, node: NodeId, within_s: float, *, preempt: bool) -> None:
        """Have a node emptied; raise `BadRequest` if it cannot be spared."""
        self._tell("drain", node, within_s, preempt=preempt)

    def reopen(self, node: NodeId) -> None:
        """Have a draining node offered again; raise `BadRequest` if it does not drain."""
        self._tell("reopen", node)

    def _tell(self, method: str, *args: object, **more: object) -> None:
        refusal = self._ask(method, *args, **more)
        if refusal is not None:
            raise BadRequest(str(refusal))

    def _ask(self, method: str, *args: object, **more: object) -> Any:
        try:
            return ray.get(getattr(self._allocator, method).remote(*args, **more), timeout=ANSWER_S)
        except (GetTimeoutError, RayActorError) as error:
            raise CoordinationError(
                f"the allocator of {self._app!r} does not answer ({type(error).__name__})"
            ) from error


@contextmanager
def operating(address: str, app: str) -> Iterator[Operator]:
    """Yield the operator of an application in the Ray at `address`; `auto` is this machine's."""
    # A Ray that was started here asks for this user's token. Ray sends it unasked to one that it
    # found by itself only, and we name the address.
    logging.getLogger("ray").setLevel(logging.ERROR)  # it would say so each time
    maybe_enable_token_auth_if_token_available(warn_if_disabled=False)
    try:
        ray.init(
            address=address,
            namespace=NAMESPACE,
            log_to_driver=False,
            logging_level=logging.ERROR,
        )
    except (ConnectionError, ValueError) as error:
        raise BadRequest(f"no Ray answers at {address!r}: {error}") from error
    try:
        yield Operator(app)
    finally:
        ray.shutdown()


def _apps() -> str:
    named = ray.util.list_named_actors(all_namespaces=True)
    prefix = allocator_name("")
    apps = sorted(
        one["name"].removeprefix(prefix)
        for one in named
        if one["namespace"] == NAMESPACE and one["name"].startswith(prefix)
    )
    return ", ".join(apps) or "none"
