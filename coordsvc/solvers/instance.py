"""What is to be scheduled: agents that work in rounds and send each other messages.

Time goes in whole steps. In each round every agent runs one operation. A message is sent when its
sender has finished, takes one step on the bus, and must have arrived before its receiver begins.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from coordsvc.core.errors import BadRequest

Operation = tuple[int, int]  # agent, round
Message = tuple[int, int, int]  # sender, receiver, round


@dataclass(frozen=True, slots=True, kw_only=True)
class Instance:
    """One problem: the graph, what each operation takes, and what there is of each resource."""

    edges: tuple[tuple[int, int], ...]
    releases: tuple[int, ...]  # steps, one a round
    durations: tuple[tuple[int, ...], ...]  # steps, by agent and then by round
    demands: tuple[int, ...]  # GPUs while an operation runs, one an agent
    capacity: int  # GPUs
    messages: int | None  # that may be sent in one step; None is no limit
    one_at_a_time: bool = True  # whether an agent runs its rounds one after the other

    def __post_init__(self) -> None:
        """Raise `BadRequest` for a problem that has no schedule."""
        if not self.demands or not self.releases:
            raise BadRequest("an instance needs at least one agent and one round")
        if max(self.demands) > self.capacity:
            raise BadRequest(f"an agent needs {max(self.demands)} GPUs of {self.capacity}")
        if self.messages is not None and self.messages < 1:
            raise BadRequest(f"messages is {self.messages}: it must be 1 or more, or None")
        if len(self.durations) != len(self.demands):
            raise BadRequest("durations and demands must name the same agents")
        if any(len(row) != len(self.releases) or min(row) < 1 for row in self.durations):
            raise BadRequest("each agent needs one duration of 1 step or more for each round")
        if any(not 0 <= a < b < len(self.demands) for a, b in self.edges):
            raise BadRequest("an edge must go from an agent to one of a higher number")

    @property
    def operations(self) -> list[Operation]:
        """Every operation, by agent and round."""
        return [(i, k) for i in range(len(self.demands)) for k in range(len(self.releases))]

    @property
    def sends(self) -> list[Message]:
        """Every message, by edge and round."""
        return [(a, b, k) for a, b in self.edges for k in range(len(self.releases))]

    def duration(self, operation: Operation) -> int:
        """Return the steps that an operation takes."""
        agent, number = operation
        return self.durations[agent][number]


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """When each operation starts and each message is sent, in steps."""

    starts: Mapping[Operation, int]
    sent: Mapping[Message, int]
