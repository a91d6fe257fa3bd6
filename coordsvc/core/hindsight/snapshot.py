"""All of an allocator that matters for what it will do, as plain data, and an allocator from that.

What follows from the rest is left out, and reckoned anew: sums, trees, heaps' insides, places in
line. What does not follow is kept exactly: the order of desks, kinds and offers, where each part
of a node stands on its shelf, what was tried in vain. So from the same event on, both allocators
do the same, to the last bit; and equal states give equal data.

`capture` costs the allocator's loop a copy of its lists; to make plain data of that can be left
to somebody else.
"""

import heapq
from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from coordsvc.core.allocation.desks import DeskState
from coordsvc.core.allocation.gangs import Gang
from coordsvc.core.allocation.queues import Kind, KindKey
from coordsvc.core.allocation.rooms import Part, Shelf
from coordsvc.core.allocator import Allocator
from coordsvc.core.hindsight.codec import Plain, from_plain, to_plain
from coordsvc.core.messages import GangWanted
from coordsvc.core.offers import Offer
from coordsvc.core.policies import Policy
from coordsvc.core.policies.catalogue import PolicyTerms, make
from coordsvc.core.resources import Resources
from coordsvc.core.terms import Terms
from coordsvc.core.units import DeskId, Epoch, GangId, Instant, Micros, NodeId, OfferId, RoleId


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeKept:
    """One node."""

    node: NodeId
    capacity: Resources
    place: int
    """On its shelf, of what is reserved for nobody."""
    attributes: Mapping[str, str]
    reserved: tuple[tuple[RoleId, Resources, int], ...] = ()
    """For whom, how much, and its place."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeskKept:
    """One desk, and which of the kinds it is of."""

    state: DeskState
    kind: int
    offers: tuple[OfferId, ...] = ()
    """Those that it may still accept, oldest first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KindKept:
    """What was found out about one kind of claims."""

    key: KindKey
    full: bool = False
    full_ahead: bool = False
    keeps: bool = False
    grown: int = 0
    picky: tuple[DeskId, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class GangKept:
    """One gang that waits."""

    wanted: GangWanted
    arrived: Instant
    kinds: tuple[int, ...]
    aside: tuple[tuple[OfferId, ...], ...]
    rests_until: Instant
    rest_us: Micros
    gathers_until: Instant | None = None
    grown_at_failure: int = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """All of an allocator that matters."""

    epoch: Epoch
    now: Instant
    terms: Terms
    policy: Plain
    """With what it remembers. Plain already, for it goes on changing."""
    issued: int
    served: Mapping[RoleId, int]
    """All roles that were ever seen, and the number of the last offer made to each."""
    asked_for: frozenset[str]
    nodes: tuple[NodeKept, ...]
    offers: tuple[Offer, ...]
    kinds: tuple[KindKept, ...]
    desks: tuple[DeskKept, ...]
    gangs: tuple[GangKept, ...] = ()
    gangs_unstarted: tuple[tuple[GangId, tuple[OfferId, ...]], ...] = ()
    gathering: GangId | None = None
    gang_alarms: tuple[tuple[Instant, GangId], ...] = ()
    revocable: tuple[OfferId, ...] = ()
    draining: Mapping[NodeId, bool]
    asked_back: Mapping[OfferId, Instant]
    grace_alarms: tuple[tuple[Instant, OfferId], ...] = ()
    spare: frozenset[DeskId] = frozenset()
    cached: Mapping[NodeId, frozenset[str]]
    expiries: tuple[tuple[Instant, OfferId], ...] = ()
    refusals_end: tuple[tuple[Instant, DeskId], ...] = ()
    unseen: Mapping[OfferId, int]
    told_ended: Mapping[NodeId, tuple[Offer, ...]]
    doubted: tuple[OfferId, ...] = ()
    limits_met: Mapping[str, int]


def snapshot(allocator: Allocator) -> dict[str, Any]:
    """Return the allocator's state as plain data; equal states give equal data."""
    return plain(capture(allocator))


def plain(kept: Kept) -> dict[str, Any]:
    """Return what was captured as plain data."""
    said: dict[str, Any] = to_plain(kept, Kept)
    return said


def restore(data: Any, make_policy: Callable[[PolicyTerms], Policy] = make) -> Allocator:
    """Return an allocator that does from now on what the one in `data` would do.

    Raises:
        BadRequest: `data` is no snapshot.

    """
    kept: Kept = from_plain(data, Kept)
    policy: Policy = from_plain(kept.policy, Policy)
    allocator = Allocator(kept.epoch, kept.terms, policy, make_policy)
    allocator.now = kept.now
    _restore_pool(allocator, kept)
    kinds = _restore_kinds(allocator, kept)
    _restore_gangs(allocator, kept, kinds)
    _restore_desks(allocator, kept, kinds)
    _restore_rest(allocator, kept)
    return allocator


def capture(allocator: Allocator) -> Kept:
    """Return the allocator's state, apart from it: it may go on."""
    books = allocator.books
    ledger, dispatch, gangs, recall = books.ledger, books.dispatch, books.gangs, books.recall
    assert not ledger.grown, "between two events all room that was made has been looked at"
    number = {id(kind): n for n, kind in enumerate(dispatch.kinds.values())}
    return Kept(
        epoch=allocator.epoch,
        now=allocator.now,
        terms=allocator.terms,
        policy=to_plain(allocator.policy, Policy),
        issued=books.issuer.issued,
        served={role_id: role.served for role_id, role in ledger.roles.known.items()},
        asked_for=frozenset(ledger.rooms.asked_for),
        nodes=tuple(_node(parts) for parts in ledger.rooms.parts.values()),
        offers=tuple(ledger.offers.values()),
        kinds=tuple(_kind(kind) for kind in dispatch.kinds.values()),
        desks=tuple(
            DeskKept(
                state=_copy(state),
                kind=number[id(dispatch.kind_of[desk])],
                offers=tuple(offer.offer_id for offer in ledger.issued_to(desk)),
            )
            for desk, state in dispatch.desks.items()
        ),
        gangs=tuple(_gang(gang, number) for gang in gangs.waiting.values()),
        gangs_unstarted=tuple((gang, tuple(held)) for gang, held in gangs.unstarted.items()),
        gathering=gangs.gathering,
        gang_alarms=tuple(sorted(gangs.alarms)),
        revocable=tuple(ledger.revocable),
        draining=dict(recall.draining),
        asked_back=dict(recall.asked),
        grace_alarms=tuple(sorted(recall.alarms)),
        spare=frozenset(recall.spare),
        cached=dict(books.issuer.cached),
        expiries=tuple(sorted(books.issuer.expiries)),
        refusals_end=tuple(sorted(books.refusals_end)),
        unseen=dict(books.unseen),
        told_ended={node: tuple(told.values()) for node, told in books.told_ended.items()},
        doubted=tuple(books.doubted),
        limits_met=dict(books.limits_met),
    )


def _node(parts: Mapping[RoleId | None, Part]) -> NodeKept:
    rest = parts[None]
    reserved = [(role, part.capacity, part.place) for role, part in parts.items() if role]
    capacity = sum((part.capacity for part in parts.values()), start=Resources())
    return NodeKept(
        node=rest.node,
        capacity=capacity,
        place=rest.place,
        attributes=rest.attributes,
        reserved=tuple(reserved),
    )


def _kind(kind: Kind) -> KindKept:
    return KindKept(
        key=kind.key,
        full=kind.full,
        full_ahead=kind.full_ahead,
        keeps=kind.keeps,
        grown=kind.grown,
        picky=tuple(sorted(kind.picky)),
    )


def _copy(state: DeskState) -> DeskState:
    return replace(
        state,
        waits=dict(state.waits),
        meant=dict(sorted(state.meant.items())),
        refused_until=OrderedDict(state.refused_until),
    )


def _gang(gang: Gang, number: Mapping[int, int]) -> GangKept:
    return GangKept(
        wanted=gang.wanted,
        arrived=gang.arrived,
        kinds=tuple(number[id(kind)] for kind in gang.kinds),
        aside=tuple(tuple(offers) for offers in gang.aside),
        rests_until=gang.rests_until,
        rest_us=gang.rest_us,
        gathers_until=gang.gathers_until,
        grown_at_failure=gang.grown_at_failure,
    )


def _restore_pool(allocator: Allocator, kept: Kept) -> None:
    """Put every node where it stood, and every offer on its node."""
    ledger = allocator.ledger
    ledger.rooms.asked_for = set(kept.asked_for)
    placed: dict[Shelf, dict[int, Part]] = {}

    def shelve(one: NodeKept, role: RoleId | None, amount: Resources, place: int) -> Part:
        attributes = dict(one.attributes)
        shelf = ledger.rooms.shelf(role, amount, attributes)
        part = Part(one.node, role, amount, amount, attributes, shelf)
        part.open = one.node not in kept.draining
        placed.setdefault(shelf, {})[place] = part
        return part

    for one in kept.nodes:
        parts: dict[RoleId | None, Part] = {}
        rest = one.capacity
        for role, amount, place in one.reserved:
            rest -= amount
            parts[role] = shelve(one, role, amount, place)
        parts[None] = shelve(one, None, rest, one.place)
        ledger.rooms.parts[one.node] = parts
        ledger.capacity[one.node] = one.capacity
        ledger.total += one.capacity
    for shelf, at in placed.items():
        shelf.fill(at)
    for offer in kept.offers:
        ledger.enter(offer)
    ledger.revocable = dict.fromkeys(kept.revocable)
    for desk in kept.desks:
        ledger.in_hand(desk.state.desk, desk.offers)
    for role_id, served in kept.served.items():
        ledger.roles.get(role_id).served = served


def _restore_kinds(allocator: Allocator, kept: Kept) -> list[Kind]:
    dispatch = allocator.books.dispatch
    for one in kept.kinds:
        search = one.key.least.at_least(one.key.where.free_at_least)
        dispatch.kinds[one.key] = Kind(one.key, search)
    kinds = list(dispatch.kinds.values())
    for kind, one in zip(kinds, kept.kinds, strict=True):
        kind.grown, kind.picky = one.grown, dict.fromkeys(one.picky)
        shelves = dispatch.suited(kind)  # first: it clears what is set next
        kind.full, kind.full_ahead, kind.keeps = one.full, one.full_ahead, one.keeps
        for shelf in shelves:
            shelf.kept += one.keeps
    return kinds


def _restore_gangs(allocator: Allocator, kept: Kept, kinds: list[Kind]) -> None:
    gangs = allocator.books.gangs
    for one in kept.gangs:
        own = [kinds[n] for n in one.kinds]
        for kind in own:
            kind.gangs += 1
        gangs.waiting[one.wanted.gang] = Gang(
            one.wanted,
            one.arrived,
            own,
            [list(offers) for offers in one.aside],
            one.rests_until,
            one.rest_us,
            one.gathers_until,
            one.grown_at_failure,
        )
    gangs.unstarted = {gang: dict.fromkeys(offers) for gang, offers in kept.gangs_unstarted}
    gangs.gathering = kept.gathering
    gangs.alarms = _heap(kept.gang_alarms)


def _restore_desks(allocator: Allocator, kept: Kept, kinds: list[Kind]) -> None:
    """Put every desk in line; the places follow from what is held, so that comes first."""
    dispatch = allocator.books.dispatch
    for one in kept.desks:
        desk, kind = one.state.desk, kinds[one.kind]
        dispatch.desks[desk], dispatch.kind_of[desk] = one.state, kind
        kind.desks[desk] = None
        dispatch.changed(one.state)


def _restore_rest(allocator: Allocator, kept: Kept) -> None:
    books = allocator.books
    books.issuer.issued = kept.issued
    books.issuer.cached = dict(kept.cached)
    books.issuer.expiries = _heap(kept.expiries)
    books.recall.draining = dict(kept.draining)
    books.recall.asked = dict(kept.asked_back)
    books.recall.alarms = _heap(kept.grace_alarms)
    books.recall.spare = dict.fromkeys(sorted(kept.spare))
    books.refusals_end = _heap(kept.refusals_end)
    books.unseen = dict(kept.unseen)
    books.told_ended = {
        node: {offer.offer_id: offer for offer in told} for node, told in kept.told_ended.items()
    }
    books.doubted = dict.fromkeys(kept.doubted)
    books.limits_met = Counter(kept.limits_met)


def _heap(entries: tuple[Any, ...]) -> list[Any]:
    made = list(entries)
    heapq.heapify(made)
    return made
