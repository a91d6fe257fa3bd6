"""The rules that a plan is measured against, and a plan as a rule.

Each is an order only; `execute` carries it out. Where keys are equal the lower agent goes first.
"""

from dataclasses import dataclass

from coordsvc.solvers.execute import Key, Scene
from coordsvc.solvers.instance import Instance, Message, Operation, Schedule


class RoundRobin:
    """Serves the agent whose last turn is longest ago."""

    def operation(self, scene: Scene, each: Operation) -> Key:
        """Return when the agent last had its turn, and the round."""
        return (scene.served.get(each[0], 0), each[1])

    def message(self, scene: Scene, each: Message) -> Key:
        """Return when the sender last had its turn, and the round."""
        return (scene.served.get(each[0], 0), each[2])


class Offers:
    """Serves the smallest dominant share of GPUs and of messages (DRF, by counted use now)."""

    def operation(self, scene: Scene, each: Operation) -> Key:
        """Return the agent's dominant share, and the round."""
        return (_dominant(scene, each[0]), each[1])

    def message(self, scene: Scene, each: Message) -> Key:
        """Return the sender's dominant share, and the round."""
        return (_dominant(scene, each[0]), each[2])


class OldestRound:
    """Serves the round that was released first."""

    def operation(self, scene: Scene, each: Operation) -> Key:
        """Return the round's release."""
        return (scene.instance.releases[each[1]],)

    def message(self, scene: Scene, each: Message) -> Key:
        """Return the round's release."""
        return (scene.instance.releases[each[2]],)


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """Serves in the order of a plan, whatever the time has come to."""

    plan: Schedule

    def operation(self, scene: Scene, each: Operation) -> Key:
        """Return the planned start."""
        del scene
        return (self.plan.starts[each],)

    def message(self, scene: Scene, each: Message) -> Key:
        """Return the planned sending."""
        del scene
        return (self.plan.sent[each],)


def _dominant(scene: Scene, agent: int) -> float:
    instance: Instance = scene.instance
    held = sum(instance.demands[each] for each, _ in scene.running() if each == agent)
    gpus = held / instance.capacity
    if instance.messages is None:
        return gpus
    now = sum(1 for each, at in scene.sent.items() if each[0] == agent and at == scene.now)
    return max(gpus, now / instance.messages)
