"""Takes back what others need more: offers held ahead of need, and what was borrowed.

Offers held ahead are rescinded as soon as a phase waits in vain where they would help. Grants that
stand on another's guarantee are asked back (an inverse offer) and, if that does not end them in
time, preempted; a role is never taken below its own guarantee. A node that drains is emptied.
"""

import heapq
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain, islice

from coordsvc.core.allocation.desks import DeskState
from coordsvc.core.allocation.dispatch import Dispatch
from coordsvc.core.allocation.ledger import Ledger
from coordsvc.core.allocation.queues import Kind
from coordsvc.core.errors import ProtocolError
from coordsvc.core.messages import AskBack, Effect, NodeDraining, Preempt
from coordsvc.core.offers import ACCEPTED, Offer
from coordsvc.core.resources import Resources
from coordsvc.core.roles import Role
from coordsvc.core.terms import Terms
from coordsvc.core.units import (
    SECOND,
    AgentId,
    DeskId,
    Instant,
    Micros,
    NodeId,
    OfferId,
    RoleId,
    after,
)

PREEMPTED_AGAIN_US = Micros(2 * SECOND)
"""What should have ended and still runs is preempted again: the first word may be lost."""
LOOKED_AT_MAX = 64
"""Holders, and borrowed grants, that are looked at for one phase; the rest another time."""


@dataclass(slots=True)
class Recall:
    """What is being taken back."""

    ledger: Ledger
    dispatch: Dispatch
    draining: dict[NodeId, bool] = field(default_factory=dict)
    """Whether what runs there is ended in the end."""
    asked: dict[OfferId, Instant] = field(default_factory=dict)
    """Grants that have been asked back, and when they are preempted if they may be."""
    alarms: list[tuple[Instant, OfferId]] = field(default_factory=list)
    spare: dict[DeskId, None] = field(default_factory=dict)
    """Desks that hold more than their phases wait for."""

    def changed(self, state: DeskState) -> None:
        """Take note of what a desk holds and needs."""
        if state.spare:
            self.spare[state.desk] = None
        else:
            self.spare.pop(state.desk, None)

    def left(self, desk: DeskId) -> None:
        """Forget a desk."""
        self.spare.pop(desk, None)

    def ended(self, offer_id: OfferId) -> None:
        """Forget an offer."""
        self.asked.pop(offer_id, None)

    def next_alarm(self) -> Instant | None:
        """Return when the next grant is to be preempted."""
        return self.alarms[0][0] if self.alarms else None

    def held_ahead(self, gathering: Iterable[tuple[Kind, int]] = ()) -> Iterator[Offer]:
        """Yield offers to rescind, each once the one before has been: for phases in vain.

        `gathering`: what a gang lacks that gathers, and how many of each. Only where it helps: a
        phase that no node suits must not cost others their offers.
        """
        if not self.spare:
            return
        phases = (
            (kind, self.dispatch.unmet(kind)) for kind in self.dispatch.kinds_full_and_waiting()
        )
        for kind, needed in chain(phases, gathering):
            unmet = needed - sum(shelf.voiding for shelf in kind.shelves)
            while unmet > 0 and (offer := self._most_ahead(kind)) is not None:
                yield offer
                unmet -= 1

    def borrowed(self, now: Instant, terms: Terms) -> list[Effect]:
        """Ask back what guarantees need, the youngest loans first."""
        if not self.ledger.revocable or not self.ledger.roles.unmet:
            return []
        effects: list[Effect] = []
        for kind in self.dispatch.kinds_full_and_waiting():
            missing = self._entitled(kind) - sum(1 for one in self.asked if self._on(kind, one))
            for offer in self._loans(kind):
                if missing <= 0:
                    break
                effects.append(self.ask_back(offer, now, terms.ask_back_us, preempt=True))
                missing -= 1
        return effects

    def drain(self, now: Instant, event: NodeDraining) -> list[Effect]:
        """Close a node, and ask back what runs there; refuse if guarantees need the node."""
        if event.node not in self.ledger.capacity:
            raise ProtocolError(f"node {event.node} is not here")
        if not event.preempt:
            self._check_floor(event.node)
        self.draining[event.node] = event.preempt
        self._open(event.node, is_open=False)
        return [
            self.ask_back(offer, now, event.within, preempt=event.preempt)
            for offer in self.ledger.on_node(event.node)
            if offer.state is ACCEPTED
        ]

    def reopen(self, node: NodeId) -> None:
        """Offer a node again."""
        if self.draining.pop(node, None) is None:
            raise ProtocolError(f"node {node} does not drain")
        for offer in self.ledger.on_node(node):
            self.asked.pop(offer.offer_id, None)
        self._open(node, is_open=True)
        self.ledger.grown.update(dict.fromkeys(self.ledger.rooms.of(node)))

    def ask_back(self, offer: Offer, now: Instant, within: Micros, *, preempt: bool) -> AskBack:
        """Ask a desk to end what runs under a grant; with `preempt`, see to it in the end."""
        self.asked[offer.offer_id] = until = after(now, within)
        if preempt:
            heapq.heappush(self.alarms, (until, offer.offer_id))
        return AskBack(offer, within)

    def overdue(self, now: Instant) -> list[Effect]:
        """Preempt what was asked back and has not come."""
        effects: list[Effect] = []
        while self.alarms and self.alarms[0][0] <= now:
            until, offer_id = heapq.heappop(self.alarms)
            if self.asked.get(offer_id) == until:
                effects.append(Preempt(self.ledger.find(offer_id)))
                self.asked[offer_id] = again = after(now, PREEMPTED_AGAIN_US)
                heapq.heappush(self.alarms, (again, offer_id))
        return effects

    def _most_ahead(self, kind: Kind) -> Offer | None:
        """Return the youngest offer that would help, of the desk that holds most ahead."""
        spare = {desk: self.dispatch.desks[desk].spare for desk in self.spare}
        holders = heapq.nsmallest(LOOKED_AT_MAX, spare, key=lambda desk: (-spare[desk], desk))
        for desk in holders:
            for offer in reversed(self.ledger.issued_to(desk)):
                if offer.gang is None and self._is_on(kind, offer):
                    return offer
        return None

    def _entitled(self, kind: Kind) -> int:
        """Return how many phases of the kind wait whose guarantees cover them."""
        unmet: defaultdict[AgentId, int] = defaultdict(int)
        for desk in kind.desks:
            state = self.dispatch.desks[desk]
            if state.unmet and state.wants_more(self.dispatch.offers_per_desk_max):
                unmet[state.agent] += state.unmet
        return sum(
            min(waiting, _covered(self.ledger.roles.get(agent), kind.key.bundle))
            for agent, waiting in unmet.items()
        )

    def _loans(self, kind: Kind) -> Iterator[Offer]:
        youngest = reversed(self.ledger.revocable)
        going = self._going()
        for offer_id in tuple(islice(youngest, LOOKED_AT_MAX)):
            offer = self.ledger.offers[offer_id]
            role = self.ledger.roles.get(offer.agent)
            asked = offer_id in self.asked or offer.state is not ACCEPTED
            if asked or not self._is_on(kind, offer):
                continue
            if all(_spares(one, going[one.role_id] + offer.bundle) for one in role.way_up()):
                yield offer
                for one in role.way_up():
                    going[one.role_id] += offer.bundle

    def _going(self) -> defaultdict[RoleId, Resources]:
        """Return what each role has been asked to give back, and still holds."""
        going: defaultdict[RoleId, Resources] = defaultdict(Resources)
        for offer_id in self.asked:
            offer = self.ledger.find(offer_id)
            for one in self.ledger.roles.get(offer.agent).way_up():
                going[one.role_id] += offer.bundle
        return going

    def _on(self, kind: Kind, offer_id: OfferId) -> bool:
        offer = self.ledger.offers.get(offer_id)
        return offer is not None and self._is_on(kind, offer)

    def _is_on(self, kind: Kind, offer: Offer) -> bool:
        part = self.ledger.part_of(offer.node, offer.reserved_for)
        return part.open and part.shelf in kind.shelves

    def _check_floor(self, node: NodeId) -> None:
        """Refuse to drain what guarantees need: they are the floor of a scale-in."""
        left = self.ledger.total
        for other in {*self.draining, node}:
            left -= self.ledger.capacity[other]
        floor = self.ledger.roles.guaranteed()
        if not left.covers(floor):
            raise ProtocolError(f"without node {node} the pool has {left}; guarantees need {floor}")

    def _open(self, node: NodeId, *, is_open: bool) -> None:
        for part in self.ledger.rooms.of(node):
            part.open = is_open
            part.shelf.changed(part)


def _spares(role: Role, less: Resources) -> bool:
    guarantee = role.terms.guarantee
    return not guarantee or role.held.covers(guarantee + less)


def _covered(role: Role, bundle: Resources) -> int:
    """Return how many more such bundles guarantees cover."""
    return max(
        (
            one.terms.guarantee.lack(one.held).times_held(bundle)
            for one in role.way_up()
            if one.terms.guarantee
        ),
        default=0,
    )
