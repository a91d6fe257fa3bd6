"""Gangs: bundles that must be held at the same time, across nodes and agents, or not at all.

A gang that fits is offered as a whole. Of those that do not, one at a time may gather: what
becomes free is set aside for it, for a bounded time; then it gives all back and rests, twice as
long each time. So no two gangs ever hold parts that the other one needs, and what is set aside
in vain is bounded.
"""

import heapq
from collections.abc import Iterator
from dataclasses import dataclass, field

from coordsvc.core.allocation.bounds import check_agent, check_filter, make_room_for_a_role
from coordsvc.core.allocation.desks import DeskState
from coordsvc.core.allocation.dispatch import Dispatch
from coordsvc.core.allocation.issuing import Issuer
from coordsvc.core.allocation.ledger import Ledger
from coordsvc.core.allocation.queues import Kind
from coordsvc.core.errors import ProtocolError
from coordsvc.core.messages import Effect, GangRefused, GangWanted, Member
from coordsvc.core.offers import RESCINDED
from coordsvc.core.resources import Resources
from coordsvc.core.units import DeskId, GangId, Instant, Micros, OfferId, after


@dataclass(slots=True)
class Gang:
    """One gang that waits."""

    wanted: GangWanted
    arrived: Instant
    kinds: list[Kind]
    """One for each member."""
    aside: list[list[OfferId]]
    """What has been set aside for each member."""
    rests_until: Instant
    rest_us: Micros
    gathers_until: Instant | None = None
    grown_at_failure: int = -1
    """How often room had been made for its kinds when it last did not fit."""

    def grown(self) -> int:
        """Return how often room was made for its kinds."""
        return sum(kind.grown for kind in self.kinds)

    def gathered(self) -> Iterator[OfferId]:
        """Yield all that is set aside for it."""
        for offers in self.aside:
            yield from offers


@dataclass(slots=True)
class Gangs:
    """Those that wait, in the order they came, and those whose offers are out."""

    ledger: Ledger
    dispatch: Dispatch
    issuer: Issuer
    waiting: dict[GangId, Gang] = field(default_factory=dict)
    unstarted: dict[GangId, dict[OfferId, None]] = field(default_factory=dict)
    """Offers of complete gangs that no phase has started under."""
    gathering: GangId | None = None
    nearer: bool = False
    """Something was set aside by the event at hand, or gathering began."""
    alarms: list[tuple[Instant, GangId]] = field(default_factory=list)

    def want(self, now: Instant, wanted: GangWanted) -> None:
        """Enter a gang, or refuse it at once if it could never come about."""
        terms = self.issuer.terms
        if wanted.gang in self.waiting or wanted.gang in self.unstarted:
            raise ProtocolError(f"gang {wanted.gang} is known already")
        if (state := self.dispatch.desks.get(wanted.desk)) is None:
            raise ProtocolError(f"desk {wanted.desk} has not joined")
        if len(self.waiting) >= terms.gangs_max:
            raise ProtocolError(f"{terms.gangs_max} gangs wait already")
        mine = sum(1 for gang in self.waiting.values() if gang.wanted.desk == wanted.desk)
        if mine >= terms.gangs_per_desk_max:
            raise ProtocolError(f"{mine} gangs of desk {wanted.desk} wait already")
        if len(wanted.members) > terms.gang_bundles_max or len(wanted.gang) > terms.name_chars_max:
            raise ProtocolError(f"a gang of {len(wanted.members)} kinds, or its name, is too large")
        most = sum(max(member.most, member.least) for member in wanted.members)
        if not 0 < most <= terms.gang_bundles_max:
            raise ProtocolError(
                f"gang {wanted.gang} is of {most} bundles; 1 to {terms.gang_bundles_max} may be"
            )
        for member in wanted.members:
            _check(member, state)
            check_agent(member.agent, terms)
            check_filter(member.where, terms)
        agents = [state.agent for state in self.dispatch.desks.values()]
        make_room_for_a_role(self.ledger.roles, agents, terms)
        self._check_possible(wanted)  # before kinds are entered: a refused gang changes nothing
        kinds = [self._kind(member) for member in wanted.members]
        gang = Gang(wanted, now, kinds, [[] for _ in kinds], now, terms.gang_hold_us)
        self.waiting[wanted.gang] = gang

    def knows(self, wanted: GangWanted) -> bool:
        """Tell whether the very same is asked for already: whoever asks twice loses nothing."""
        if (gang := self.waiting.get(wanted.gang)) is not None:
            return gang.wanted.desk == wanted.desk
        offers = (self.ledger.offers.get(one) for one in self.unstarted.get(wanted.gang, ()))
        return any(offer is not None and offer.desk == wanted.desk for offer in offers)

    def give_up(self, gang_id: GangId, now: Instant, by: DeskId | None = None) -> None:
        """Strike a gang out, with what is set aside for it; `by`: which desk says so."""
        gang = self.waiting.get(gang_id)
        if gang is None or by not in (None, gang.wanted.desk):
            raise ProtocolError(f"gang {gang_id} does not wait")
        del self.waiting[gang_id]
        self._give_back(gang, now)
        self._disband(gang)

    def desk_lost(self, desk: DeskId, now: Instant) -> None:
        """Strike out the gangs that a desk asked for."""
        for gang_id in [g for g, gang in self.waiting.items() if gang.wanted.desk == desk]:
            self.give_up(gang_id, now)

    def node_lost(self, lost: frozenset[OfferId]) -> None:
        """Strike out what was set aside on a node that is no more."""
        for gang in self.waiting.values():
            gang.aside = [[one for one in offers if one not in lost] for offers in gang.aside]

    def started(self, gang_id: GangId, offer_id: OfferId) -> None:
        """Count an offer of a gang as started, or ended."""
        if (offers := self.unstarted.get(gang_id)) is not None:
            offers.pop(offer_id, None)
            if not offers:
                del self.unstarted[gang_id]

    def break_up(self, gang_id: GangId, lost: OfferId) -> tuple[OfferId, ...]:
        """Return the rest of a gang of which one was never started: all or none are held.

        A gang that was asked for anew since is another one, though it has the same name.
        """
        if lost not in self.unstarted.get(gang_id, {}):
            return ()
        return tuple(self.unstarted.pop(gang_id))

    def missing(self) -> list[tuple[Kind, int]]:
        """Return what the gang still lacks that gathers, if it has come nearer; how many of each.

        Once each time: what is made free and does not help it must not be taken back again.
        """
        nearer, self.nearer = self.nearer, False
        if (
            not nearer
            or self.gathering is None
            or (gang := self.waiting.get(self.gathering)) is None
        ):
            return []
        return [
            (kind, member.least - len(offers))
            for member, kind, offers in zip(
                gang.wanted.members, gang.kinds, gang.aside, strict=True
            )
            if self.ledger.roles.get(member.agent).within_limits(member.bundle)
        ]

    def next_alarm(self) -> Instant | None:
        """Return when a gang has gathered or rested long enough."""
        return self.alarms[0][0] if self.alarms else None

    def offer(self, now: Instant) -> list[Effect]:
        """Offer each gang that fits as a whole; let the first of the others gather."""
        effects: list[Effect] = []
        self.dispatch.look_around()  # what is free since must not go to others unseen
        while self.alarms and self.alarms[0][0] <= now:
            _, gang_id = heapq.heappop(self.alarms)
            if (gang := self.waiting.get(gang_id)) is not None:
                self._rest(gang, now)
        for gang in tuple(self.waiting.values()):
            if gang.rests_until <= now and gang.grown() != gang.grown_at_failure:
                effects += self._try(gang, now)
        return effects

    def _try(self, gang: Gang, now: Instant) -> list[Effect]:
        grown_before = dict(self.ledger.grown)
        had = sum(map(len, gang.aside))
        complete = self._set_aside(gang, now, most=False)
        if complete:
            self._set_aside(gang, now, most=True)
            return self._issue(gang, now)
        gang.grown_at_failure = gang.grown()
        begins = self.gathering is None
        if begins:
            self.gathering = gang.wanted.gang
            gang.gathers_until = after(now, self.issuer.terms.gang_hold_us)
            heapq.heappush(self.alarms, (gang.gathers_until, gang.wanted.gang))
        if self.gathering == gang.wanted.gang:
            self.nearer = begins or sum(map(len, gang.aside)) > had
            self._members_changed(gang)
        else:
            self._give_back(gang, now)
            self.ledger.grown.clear()  # nothing was made free that had not been
            self.ledger.grown.update(grown_before)
        return []

    def _set_aside(self, gang: Gang, now: Instant, *, most: bool) -> bool:
        """Set aside what there is room for; return whether every member has enough."""
        desk = self.dispatch.desks[gang.wanted.desk]
        enough = True
        for member, kind, offers in zip(gang.wanted.members, gang.kinds, gang.aside, strict=True):
            role = self.ledger.roles.get(member.agent)
            while len(offers) < (member.most if most else member.least):
                part = self.dispatch.room(kind)
                if part is None or not role.within_limits(member.bundle):
                    enough = False
                    break
                offer = self.issuer.set_aside(
                    now, desk, member.agent, part, member.bundle, gang.wanted.gang
                )
                offers.append(offer.offer_id)
        return enough

    def _issue(self, gang: Gang, now: Instant) -> list[Effect]:
        effects: list[Effect] = []
        expires_at = self.issuer.expires_at(now)
        for offer_id in gang.gathered():
            offer = self.ledger.issue(offer_id, now, expires_at)
            part = self.ledger.part_of(offer.node, offer.reserved_for)
            effects.append(self.issuer.send(offer, part))
        del self.waiting[gang.wanted.gang]
        self.unstarted[gang.wanted.gang] = dict.fromkeys(gang.gathered())
        self._disband(gang)
        self._members_changed(gang)
        return effects

    def _rest(self, gang: Gang, now: Instant) -> None:
        """End gathering, or a rest."""
        if gang.gathers_until is None or gang.gathers_until > now:
            return
        self._give_back(gang, now)
        gang.gathers_until, gang.grown_at_failure = None, -1
        gang.rests_until = after(now, gang.rest_us)
        gang.rest_us = Micros(min(2 * gang.rest_us, self.issuer.terms.gang_rest_max_us))
        heapq.heappush(self.alarms, (gang.rests_until, gang.wanted.gang))
        self.gathering = None

    def _give_back(self, gang: Gang, now: Instant) -> None:
        for offer_id in gang.gathered():
            self.ledger.move(offer_id, RESCINDED, now)
        gang.aside = [[] for _ in gang.kinds]
        if self.gathering == gang.wanted.gang:
            self.gathering = None
        self._members_changed(gang)

    def _members_changed(self, gang: Gang) -> None:
        for member in gang.wanted.members:
            self.dispatch.held_changed(member.agent)

    def _disband(self, gang: Gang) -> None:
        if self.gathering == gang.wanted.gang:
            self.gathering = None
        for kind in gang.kinds:
            kind.gangs -= 1
            self.dispatch.forget_unused(kind)

    def _kind(self, member: Member) -> Kind:
        kind = self.dispatch.kind(member.agent, member.bundle, member.bundle, member.where)
        kind.gangs += 1
        return kind

    def _check_possible(self, wanted: GangWanted) -> None:
        """Refuse what would not fit if nothing else were held; where there are no nodes, wait."""
        if not self.ledger.capacity:
            return
        whole = sum(
            (member.bundle for member in wanted.members for _ in range(member.least)),
            start=Resources(),
        )
        if not self.ledger.total.covers(whole):
            raise ProtocolError(
                f"gang {wanted.gang} needs {whole}; the pool has {self.ledger.total}"
            )
        for member in wanted.members:
            fits = sum(
                count * capacity.times_held(member.bundle)
                for count, attributes, capacity, reserved_for in self.ledger.rooms.alike(
                    member.where.names()
                )
                if member.where.suits(attributes)
                and (reserved_for is None or f"{member.agent}/".startswith(f"{reserved_for}/"))
            )
            if fits < member.least:
                raise ProtocolError(
                    f"gang {wanted.gang} needs {member.least} times {member.bundle} for "
                    f"{member.agent}; the empty pool would hold {fits}"
                )


def _check(member: Member, state: DeskState) -> None:
    tenant = state.agent.rpartition("/")[0]
    if member.agent.rpartition("/")[0] != tenant:
        raise ProtocolError(f"{state.agent} asks on account of {member.agent}, of another tenant")
    if not member.bundle:
        raise ProtocolError(f"a bundle of nothing for {member.agent}")
    if not 0 < member.least <= member.most:
        raise ProtocolError(
            f"{member.agent} wants {member.least} to {member.most} bundles; "
            "the least is at least 1, and at most the most"
        )


def refused(wanted: GangWanted, why: str) -> GangRefused:
    """Return what the desk is told of a gang that cannot be."""
    return GangRefused(wanted.gang, wanted.desk, why)
