"""A pool that an operator can reach, for tests: does nothing, and writes down what it was told."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from coordsvc.core.errors import BadRequest
from coordsvc.core.units import NodeId


@dataclass
class FakeOperations:
    policy: str = "fair_share"
    draining: list[str] = field(default_factory=list)
    told: list[tuple[Any, ...]] = field(default_factory=list)
    trouble: Exception | None = None

    def reach(self) -> "FakeOperations":
        if self.trouble is not None:
            raise self.trouble
        return self

    def status(self) -> dict[str, Any]:
        return {"policy": self.policy, "nodes": {"node-0": {"free": "all"}}}

    def explain(self, **asked: str) -> Any:
        ((what, name),) = asked.items()
        if name == "nobody":
            raise BadRequest(f"there is no {what} nobody")
        return {"about": f"{what} {name}"}

    def choose_policy(self, name: str) -> None:
        if name == "whim":
            raise BadRequest("there is no policy 'whim'")
        self.policy = name

    def drain(self, node: NodeId, within_s: float, *, preempt: bool) -> None:
        self.told.append(("drain", node, within_s, preempt))
        self.draining.append(node)

    def reopen(self, node: NodeId) -> None:
        if node not in self.draining:
            raise BadRequest(f"{node} does not drain")
        self.draining.remove(node)


Reach = Callable[[], FakeOperations]
