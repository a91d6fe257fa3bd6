"""Carries a rule out step by step, and checks any schedule against the instance.

`faults` shares no code with the executor or a solver: it is what both are checked by.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from coordsvc.solvers.instance import Instance, Message, Operation, Schedule

Key = tuple[float, ...]


@dataclass(slots=True, kw_only=True)
class Scene:
    """What a rule may look at: the instance, the time, and what was served so far."""

    instance: Instance
    now: int
    starts: dict[Operation, int] = field(default_factory=dict)
    sent: dict[Message, int] = field(default_factory=dict)
    served: dict[int, int] = field(default_factory=dict)  # agent: the number of its last turn
    turns: int = 0

    def finished(self, operation: Operation) -> bool:
        """Whether an operation is over by now."""
        start = self.starts.get(operation)
        return start is not None and start + self.instance.duration(operation) <= self.now

    def running(self) -> list[Operation]:
        """Return what runs now."""
        return [each for each in self.starts if not self.finished(each)]

    def serve(self, agent: int) -> None:
        """Note whose turn it was."""
        self.turns += 1
        self.served[agent] = self.turns


class Rule(Protocol):
    """An order of who waits: the smallest key goes first."""

    def operation(self, scene: Scene, each: Operation) -> Key:
        """Return the key of an operation that could start now."""
        ...

    def message(self, scene: Scene, each: Message) -> Key:
        """Return the key of a message that could be sent now."""
        ...


def execute(instance: Instance, rule: Rule) -> Schedule:
    """Return what comes of a rule that never leaves idle what it could use."""
    scene = Scene(instance=instance, now=min(instance.releases))
    while len(scene.starts) < len(instance.operations) or len(scene.sent) < len(instance.sends):
        _send(scene, rule)
        _start(scene, rule)
        scene.now += 1
    return Schedule(starts=scene.starts, sent=scene.sent)


def _send(scene: Scene, rule: Rule) -> None:
    waiting = [
        each
        for each in scene.instance.sends
        if each not in scene.sent and scene.finished((each[0], each[2]))
    ]
    limit = scene.instance.messages
    for _ in range(len(waiting) if limit is None else min(limit, len(waiting))):
        first = min(waiting, key=lambda each: (rule.message(scene, each), each))
        waiting.remove(first)
        scene.sent[first] = scene.now
        scene.serve(first[0])


def _start(scene: Scene, rule: Rule) -> None:
    while ready := _ready(scene):
        first = min(ready, key=lambda each: (rule.operation(scene, each), each))
        scene.starts[first] = scene.now
        scene.serve(first[0])


def _ready(scene: Scene) -> list[Operation]:
    instance = scene.instance
    running = scene.running()
    busy = {agent for agent, _ in running} if instance.one_at_a_time else set()
    free = instance.capacity - sum(instance.demands[agent] for agent, _ in running)
    return [
        (agent, number)
        for agent, number in instance.operations
        if (agent, number) not in scene.starts
        and agent not in busy
        and instance.demands[agent] <= free
        and instance.releases[number] <= scene.now
        and all(
            scene.sent.get((a, b, number), scene.now) < scene.now
            for a, b in instance.edges
            if b == agent
        )
    ]


def faults(instance: Instance, schedule: Schedule) -> list[str]:
    """Return every way in which a schedule breaks the instance; none if it can be carried out."""
    found: list[str] = []
    ends = {each: schedule.starts[each] + instance.duration(each) for each in instance.operations}
    for agent, number in instance.operations:
        if schedule.starts[agent, number] < instance.releases[number]:
            found.append(f"agent {agent} starts round {number} before its release")
    for a, b, number in instance.sends:
        sent = schedule.sent[a, b, number]
        if sent < ends[a, number] or schedule.starts[b, number] <= sent:
            found.append(f"message {a} to {b} of round {number} is out of order")
    for step, count in Counter(schedule.sent.values()).items():
        if instance.messages is not None and count > instance.messages:
            found.append(f"{count} messages in step {step}")
    return found + _crowded(instance, schedule, ends)


def _crowded(instance: Instance, schedule: Schedule, ends: Mapping[Operation, int]) -> list[str]:
    found: list[str] = []
    for step in range(min(instance.releases), max(ends.values())):
        agents = [each[0] for each in ends if schedule.starts[each] <= step < ends[each]]
        if instance.one_at_a_time and len(set(agents)) < len(agents):
            found.append(f"an agent runs two operations in step {step}")
        used = sum(instance.demands[agent] for agent in agents)
        if used > instance.capacity:
            found.append(f"{used} GPUs in step {step}")
    return found
