"""What the allocator knows of each desk: what it wants, refuses, and how it behaves."""

from collections import OrderedDict
from collections.abc import Collection
from dataclasses import dataclass, field

from coordsvc.core.filters import ANY_NODE, NodeFilter
from coordsvc.core.policies import Claim, Policy
from coordsvc.core.resources import Resources
from coordsvc.core.units import SECOND, AgentId, DeskId, Instant, Micros, NodeId, TurnId, after
from coordsvc.core.waits import Wait

DECLINE_WINDOW_US = Micros(SECOND)


@dataclass(slots=True, kw_only=True)
class DeskState:
    """One desk."""

    desk: DeskId
    agent: AgentId
    bundle: Resources
    least: Resources
    where: NodeFilter = ANY_NODE
    waiting: int = 0
    ahead: int = 0
    suppressed: bool = False
    waits: dict[TurnId, Wait] = field(default_factory=dict)
    """The first phases that wait there, most urgent first."""
    meant: dict[TurnId, int] = field(default_factory=dict)
    """For which of them an offer is on its way or in hand; how many."""
    issued: int = 0
    """Offers that it holds and has not started."""
    refused_until: "OrderedDict[NodeId, Instant]" = field(default_factory=OrderedDict)
    quiet_until: Instant = Instant(0)
    """It declines too fast to be offered anything before; 0 when it does not."""
    declined: int = 0
    declining_since: Instant = Instant(0)

    @property
    def unmet(self) -> int:
        """How many of its phases wait for more than it holds already."""
        return max(0, self.waiting - self.issued)

    @property
    def spare(self) -> int:
        """How many offers it holds beyond the phases that wait."""
        return max(0, self.issued - self.waiting)

    def wants_more(self, offers_max: int) -> bool:
        """Tell whether another offer would be welcome."""
        if self.suppressed or self.quiet_until:
            return False
        return self.issued < min(self.waiting + self.ahead, offers_max)

    def claim(self) -> Claim:
        """Return what the policy sees."""
        return Claim(
            desk=self.desk,
            agent=self.agent,
            bundle=self.bundle,
            issued=self.issued,
            head=self.head(),
        )

    def head(self) -> Wait | None:
        """Return the most urgent phase that no offer is meant for, if a phase waits in vain."""
        if self.waiting <= self.issued:
            return None
        for turn, wait in self.waits.items():
            if turn not in self.meant:
                return wait
        return None

    def hears_of(self, waits: Collection[Wait], policy: Policy) -> None:
        """Take what the desk says of those that wait in the place of what it said before."""
        known = self.waits
        kept = (known[wait.turn].again(wait) if wait.turn in known else wait for wait in waits)
        self.waits = {wait.turn: wait for wait in sorted(kept, key=policy.urgency)}

    def reorder(self, policy: Policy) -> None:
        """Put those that wait in the order of another policy, or of later keys."""
        if len(self.waits) > 1:
            self.hears_of(tuple(self.waits.values()), policy)

    def mean_for(self, turn: TurnId | None) -> None:
        """Count an offer as meant for a turn."""
        if turn is not None:
            self.meant[turn] = self.meant.get(turn, 0) + 1

    def no_longer_meant(self, turn: TurnId | None) -> None:
        """Count an offer that was meant for a turn as gone."""
        if turn is not None and turn in self.meant:
            self.meant[turn] -= 1
            if not self.meant[turn]:
                del self.meant[turn]

    def refuses(self, node: NodeId, now: Instant) -> bool:
        """Tell whether it has refused the node until later than `now`."""
        until = self.refused_until.get(node)
        return until is not None and until > now

    def refuse(self, node: NodeId, until: Instant, most: int) -> bool:
        """Remember the refusal, the latest `most` of them; return whether one was forgotten."""
        self.refused_until[node] = max(until, self.refused_until.get(node, until))
        self.refused_until.move_to_end(node)
        if len(self.refused_until) > most:
            self.refused_until.popitem(last=False)
            return True
        return False

    def count_decline(self, now: Instant, most: int) -> Instant | None:
        """Count a decline; return until when the desk is left alone, if it floods."""
        if now - self.declining_since >= DECLINE_WINDOW_US:
            self.declining_since, self.declined = now, 0
        self.declined += 1
        if self.declined <= most:
            return None
        self.quiet_until = after(now, DECLINE_WINDOW_US)
        return self.quiet_until
