"""What an operator may do over HTTP: the operations of `coordsvc pool` and `coordsvc explain`.

Who asks has been let in already; what they ask is checked here, and answered as plain data.
"""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar
from urllib.parse import parse_qsl

from pydantic import Field, ValidationError

from coordsvc.core.errors import BadRequest, CoordinationError
from coordsvc.core.policies.catalogue import NAMES
from coordsvc.core.units import NodeId
from coordsvc.serving.http.errors import Problem, Rejection, invalid, unavailable
from coordsvc.settings.node import Node

log = logging.getLogger(__name__)

RETRY_AFTER_S = 2
"""An allocator that died is back by then, as a rule."""
FIELDS_MAX = 8
"""Of a query: more are a mistake."""
ABOUT = ("agent", "desk", "turn")
"""What may be asked about."""
NAME_CHARS_MAX = 300


class Operations(Protocol):
    """What can be done with a running application's pool; `CoordinationError` if nobody answers."""

    def status(self) -> dict[str, Any]:
        """Return what the pool looks like now."""
        ...

    def explain(self, **asked: str) -> Any:
        """Return why an agent, a desk or a turn waits; raise `BadRequest` if there is none such."""
        ...

    def choose_policy(self, name: str) -> None:
        """Serve by another policy from now on; raise `BadRequest` if there is none such."""
        ...

    def drain(self, node: NodeId, within_s: float, *, preempt: bool) -> None:
        """Have a node emptied; raise `BadRequest` if it cannot be spared."""
        ...

    def reopen(self, node: NodeId) -> None:
        """Have a draining node offered again; raise `BadRequest` if it does not drain."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One request."""

    method: str
    path: str
    query: str = ""
    body: Callable[[], bytes] = bytes
    """Reads it: only what has a route is worth reading."""


class PolicyWanted(Node):
    """The body of `PUT /admin/policy`."""

    name: str = Field(min_length=1, max_length=NAME_CHARS_MAX)


class DrainWanted(Node):
    """The body of `POST /admin/drain`."""

    node: str = Field(min_length=1, max_length=NAME_CHARS_MAX)
    within_s: float = Field(default=30.0, ge=0, le=86_400)
    """Seconds until what runs is to have ended: as the command line has it."""
    preempt: bool = False
    """Whether what still runs then is ended; its phases go on elsewhere."""


class ReopenWanted(Node):
    """The body of `POST /admin/reopen`."""

    node: str = Field(min_length=1, max_length=NAME_CHARS_MAX)


Wanted = TypeVar("Wanted", bound=Node)
Answer = Mapping[str, Any]
Reach = Callable[[], Operations]


class Admin:
    """The routes below `/admin/`."""

    def __init__(self, reach: Reach) -> None:
        """`reach` returns the way to the pool, or raises `CoordinationError`."""
        self._reach = reach
        self._routes: dict[str, dict[str, Callable[[Reach, Asked], Answer]]] = {
            "/admin/pool": {"GET": _pool},
            "/admin/policy": {"GET": _policy, "PUT": _choose_policy},
            "/admin/drain": {"POST": _drain},
            "/admin/reopen": {"POST": _reopen},
            "/admin/explain": {"GET": _explain},
        }

    def answer(self, asked: Asked) -> Answer:
        """Carry out what is asked; raise `Rejection` if it is wrong, or nobody is there for it."""
        route = self._routes.get(asked.path)
        if route is None:
            raise no_route(asked.path, sorted(self._routes))
        do = route.get(asked.method)
        if do is None:
            raise wrong_method(asked.path, sorted(route))
        try:
            return do(self._reach, asked)
        except BadRequest as error:
            raise invalid(str(error)) from None
        except CoordinationError as error:
            raise Rejection(
                unavailable(str(error), "allocator_unavailable", RETRY_AFTER_S)
            ) from error


def no_route(path: str, known: list[str]) -> Rejection:
    """Return the refusal of a path that leads nowhere."""
    message = f"no route {path[:100]!r}: there are {', '.join(known)}"
    return Rejection(Problem(status=404, message=message, code="unknown_route"))


def wrong_method(path: str, known: list[str]) -> Rejection:
    """Return the refusal of a method that a path does not have."""
    allowed = ", ".join(known)
    problem = Problem(
        status=405,
        message=f"{path} has the methods {allowed}",
        code="method_not_allowed",
        headers=((b"allow", allowed.encode()),),
    )
    return Rejection(problem)


def _pool(reach: Reach, asked: Asked) -> Answer:
    del asked
    return reach().status()


def _policy(reach: Reach, asked: Asked) -> Answer:
    del asked
    return {"name": reach().status()["policy"], "known": list(NAMES)}


def _choose_policy(reach: Reach, asked: Asked) -> Answer:
    name = _read(PolicyWanted, asked.body()).name
    pool = reach()
    before = pool.status()["policy"]
    pool.choose_policy(name)
    log.info("the policy is %s from now on, by an operator's word; before: %s", name, before)
    return {"name": name, "before": before}


def _drain(reach: Reach, asked: Asked) -> Answer:
    wanted = _read(DrainWanted, asked.body())
    reach().drain(NodeId(wanted.node), wanted.within_s, preempt=wanted.preempt)
    log.info("node %r is drained, by an operator's word", wanted.node)
    return {"draining": wanted.node}


def _reopen(reach: Reach, asked: Asked) -> Answer:
    node = _read(ReopenWanted, asked.body()).node
    reach().reopen(NodeId(node))
    log.info("node %r is offered again, by an operator's word", node)
    return {"reopened": node}


def _explain(reach: Reach, asked: Asked) -> Answer:
    try:
        told = parse_qsl(asked.query, keep_blank_values=True, max_num_fields=FIELDS_MAX)
    except ValueError:
        told = []
    if len(told) != 1 or told[0][0] not in ABOUT or not 0 < len(told[0][1]) <= NAME_CHARS_MAX:
        raise invalid(
            "name one of agent, desk and turn: /admin/explain?agent=planner would be right"
        )
    answer: Answer = reach().explain(**dict(told))
    return answer


def _read(kind: type[Wanted], body: bytes) -> Wanted:
    try:
        return kind.model_validate_json(body)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(step) for step in first["loc"])
        raise invalid(f"{where or 'the body'}: {first['msg']}", where or None) from None
