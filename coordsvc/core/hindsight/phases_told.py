"""Reads a decision log as a list of phases: who began to wait when, and held a bundle how long."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from coordsvc.core.hindsight.decisions import Decision
from coordsvc.core.messages import (
    DeskJoined,
    DeskLost,
    Effect,
    Finished,
    Freed,
    Granted,
    NodeJoined,
    SendOffer,
    Wanted,
)
from coordsvc.core.offers import ACCEPTED, RELEASED, Offer
from coordsvc.core.resources import Resources
from coordsvc.core.units import SECOND, AgentId, DeskId, Instant, Micros, OfferId, TurnId, after
from coordsvc.core.waits import Wait

LEFT_US = Micros(60 * SECOND)
"""Until the deadline of a phase of which no desk told; what a turn has by default."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PhaseTold:
    """One phase, as the log tells of it."""

    desk: DeskId
    agent: AgentId
    wait: Wait
    used: Resources
    began: Instant | None
    """When it got its bundle; None if it was still waiting at the end of the log."""
    lasted: Micros | None
    """How long it held it; None if it never ended in the log."""
    phase: str = ""
    """What its agent did; empty where no desk said."""


@dataclass(slots=True, kw_only=True)
class Story:
    """All phases of a log, in the order in which they began to wait."""

    phases: list[PhaseTold] = field(default_factory=list)
    ends: dict[OfferId, Instant] = field(default_factory=dict)
    """When grants ended that were there before the log began, or came with a node."""


@dataclass(slots=True)
class _Reader:
    """What is known so far."""

    agents: dict[DeskId, tuple[AgentId, Resources]]
    waits: defaultdict[DeskId, dict[TurnId, Wait]] = field(
        default_factory=lambda: defaultdict(dict)
    )
    running: dict[OfferId, PhaseTold] = field(default_factory=dict)
    before: set[OfferId] = field(default_factory=set)
    """Grants that nothing in the log began."""
    story: Story = field(default_factory=Story)

    def event(self, decision: Decision) -> None:
        """Take what an event tells of desks and waits."""
        match decision.event:
            case DeskJoined(desk, agent, bundle):
                self.agents.setdefault(desk, (agent, bundle))
            case DeskLost(desk):
                self.waits.pop(desk, None)
            case Wanted(desk, _, _, told):
                known = self.waits[desk]
                seen = {one.turn: known.get(one.turn) or one.seen(decision.at) for one in told}
                self.waits[desk] = seen
            case Finished(offer_id, phase=phase) if offer_id in self.running:
                self.running[offer_id] = replace(self.running[offer_id], phase=phase)
            case NodeJoined(running=running):
                self.before.update(grant.offer_id for grant in running)
            case _:
                pass

    def effect(self, now: Instant, effect: Effect) -> None:
        """Take when a phase began or ended."""
        match effect:
            case Granted(offer) if offer.offer_id not in self.running:
                if offer.gang is None and offer.offer_id not in self.before:
                    self.running[offer.offer_id] = self._began(now, offer)
            case Freed(offer):
                if (phase := self.running.pop(offer.offer_id, None)) is not None:
                    self._end(phase, now if offer.state is RELEASED else None)
                elif offer.offer_id in self.before:
                    self.story.ends[offer.offer_id] = now
            case SendOffer() | _:
                pass

    def end(self) -> Story:
        """Return all phases; those that still wait or run are told as such."""
        for phase in self.running.values():
            self._end(phase, None)
        for desk, waits in self.waits.items():
            if desk in self.agents:
                agent, bundle = self.agents[desk]
                self.story.phases += [
                    PhaseTold(
                        desk=desk, agent=agent, wait=wait, used=bundle, began=None, lasted=None
                    )
                    for wait in waits.values()
                ]
        self.story.phases.sort(key=lambda phase: (phase.wait.asked, phase.desk, phase.wait.turn))
        return self.story

    def _began(self, now: Instant, offer: Offer) -> PhaseTold:
        waits = self.waits[offer.desk]
        turn = offer.meant_for
        if turn not in waits:
            turn = min(waits, key=lambda one: (waits[one].asked, one), default=None)
        if turn is not None:
            wait = waits.pop(turn)
        else:
            wait = Wait(
                turn=TurnId(f"offer {offer.offer_id}"),
                asked=now,
                arrived=now,
                deadline=after(now, LEFT_US),
            )
        return PhaseTold(
            desk=offer.desk,
            agent=offer.agent,
            wait=wait,
            used=offer.bundle,
            began=now,
            lasted=None,
        )

    def _end(self, phase: PhaseTold, now: Instant | None) -> None:
        assert phase.began is not None, "it has begun"
        lasted = None if now is None else Micros(now - phase.began)
        self.story.phases.append(replace(phase, lasted=lasted))


def told_by(
    decisions: Iterable[Decision],
    desks: dict[DeskId, tuple[AgentId, Resources]],
    open_offers: Iterable[Offer],
) -> Story:
    """Return the phases of a log that began with these desks, and these offers open.

    A phase that waits while its desk tells of no turn counts as waiting since it got its bundle:
    of such the log does not know.
    """
    reader = _Reader(dict(desks))
    reader.before = {one.offer_id for one in open_offers if one.state is ACCEPTED}
    for decision in decisions:
        reader.event(decision)
        for effect in decision.effects:
            reader.effect(decision.at, effect)
    return reader.end()
