"""The rules that a plan is measured against, and a plan as a rule.

Each is an order only; `execute` carries it out. Where keys are equal the lower agent goes first.
"""

from dataclasses import dataclass

from coordsvc.solvers.execute import Key, Scene
from coordsvc.solvers.instance import Instance, Message, Operation, Schedule
from coordsvc.solvers.regret import latest


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


class FirstCome:
    """Serves what has waited longest: what could have gone first, were there room."""

    def operation(self, scene: Scene, each: Operation) -> Key:
        """Return when the round was released and its messages had come."""
        agent, number = each
        came = [scene.sent[a, b, number] + 1 for a, b in scene.instance.edges if b == agent]
        return (max([scene.instance.releases[number], *came]),)

    def message(self, scene: Scene, each: Message) -> Key:
        """Return when the sender finished."""
        work = (each[0], each[2])
        return (scene.starts[work] + scene.instance.duration(work),)


@dataclass(frozen=True, slots=True, kw_only=True)
class SlackFirst:
    """Serves what can wait least if the round is to end as early as it would alone.

    It goes by the durations that are known ahead, not by those that come.
    """

    known: Instance

    def operation(self, scene: Scene, each: Operation) -> Key:
        """Return the steps it can still wait; below 0 it is too late already."""
        return (latest(self.known)[each] - scene.now,)

    def message(self, scene: Scene, each: Message) -> Key:
        """Return the steps its receiver's operation can still wait, less the one on the bus."""
        return (latest(self.known)[each[1], each[2]] - 1 - scene.now,)


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
