"""A phase that waits for an offer: what a desk tells of it, and what a policy sees of it."""

from dataclasses import dataclass

from coordsvc.core.units import Instant, Micros, NodeId, TurnId, after, since


@dataclass(frozen=True, slots=True, kw_only=True)
class PhaseWait:
    """A waiting phase as a desk tells of it: in durations, for no two clocks are compared."""

    turn: TurnId
    waited_us: Micros
    """Since the phase asked for an offer."""
    turn_us: Micros
    """Since its turn arrived at the service."""
    left_us: Micros
    """Until its turn's deadline."""
    attained_us: Micros = Micros(0)
    """Engine time that its turn has had so far."""
    cost_us: Micros = Micros(0)
    """Engine time that this phase is expected to take; 0 where nobody knows."""
    rest_us: Micros = Micros(0)
    """Engine time that the turn is still expected to take, this phase included."""
    near: NodeId | None = None
    """The node that has its conversation cached."""
    prefix: str = ""
    """Names its conversation, among the prefixes that a node may have cached."""

    def seen(self, now: Instant) -> "Wait":
        """Return the same as instants on the clock of whoever hears of it at `now`."""
        return Wait(
            turn=self.turn,
            asked=Instant(now - self.waited_us),
            arrived=Instant(now - self.turn_us),
            deadline=after(now, self.left_us),
            attained_us=self.attained_us,
            cost_us=self.cost_us,
            rest_us=self.rest_us,
            near=self.near,
            prefix=self.prefix,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Wait:
    """A waiting phase as a policy sees it; instants are on the allocator's clock."""

    turn: TurnId
    asked: Instant
    """When the phase asked for an offer."""
    arrived: Instant
    """When its turn arrived at the service."""
    deadline: Instant
    attained_us: Micros = Micros(0)
    """Engine time that its turn has had so far."""
    cost_us: Micros = Micros(0)
    """Engine time that this phase is expected to take; 0 where nobody knows."""
    rest_us: Micros = Micros(0)
    """Engine time that the turn is still expected to take, this phase included."""
    near: NodeId | None = None
    prefix: str = ""

    def again(self, later: "Wait") -> "Wait":
        """Return what is told of the same phase later, with its instants as first heard.

        A message's delay would shift them each time.
        """
        if (later.near, later.attained_us, later.rest_us) == (
            self.near,
            self.attained_us,
            self.rest_us,
        ):
            return self
        return Wait(
            turn=self.turn,
            asked=self.asked,
            arrived=self.arrived,
            deadline=self.deadline,
            attained_us=later.attained_us,
            cost_us=later.cost_us,
            rest_us=later.rest_us,
            near=later.near,
            prefix=later.prefix,
        )

    def told(self, now: Instant) -> PhaseWait:
        """Return the same in durations, as a desk tells it at `now`."""
        return PhaseWait(
            turn=self.turn,
            waited_us=since(self.asked, now),
            turn_us=since(self.arrived, now),
            left_us=since(now, self.deadline),
            attained_us=self.attained_us,
            cost_us=self.cost_us,
            rest_us=self.rest_us,
            near=self.near,
            prefix=self.prefix,
        )
