"""Says why a phase waits: its place in line, the nodes, who holds the room, what would change it.

Looks at everything and changes nothing. It is asked by people, so it may cost a look at each node.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from coordsvc.core.allocation.desks import DeskState
from coordsvc.core.allocation.queues import Kind
from coordsvc.core.allocation.rooms import Part
from coordsvc.core.allocator import Allocator
from coordsvc.core.errors import BadRequest
from coordsvc.core.hindsight.order_told import key_in_words, line_of
from coordsvc.core.offers import ACCEPTED, GATHERED, ISSUED, VOIDING
from coordsvc.core.resources import Resources
from coordsvc.core.shares import as_fraction, dominant_share
from coordsvc.core.units import (
    SECOND,
    AgentId,
    DeskId,
    Instant,
    Micros,
    NodeId,
    RoleId,
    TurnId,
    since,
)

SHOWN_MAX = 10
"""Of each thing that is listed; of the rest the number is told."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Before:
    """Who stands before it in line."""

    desk: DeskId
    agent: AgentId
    turn: TurnId | None
    key: str
    """Why, in words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NodesTold:
    """What the nodes are to it; each node counts once, for the first reason that holds."""

    all: int
    room_now: int = 0
    no_room_now: int = 0
    excluded: Mapping[str, int] = field(default_factory=dict)
    """By the condition of its filter that they do not meet."""
    too_small: int = 0
    reserved: int = 0
    """Their room, or what is free of it, is reserved for others."""
    draining: tuple[NodeId, ...] = ()
    refused: Mapping[NodeId, Micros] = field(default_factory=dict)
    """By the desk itself, and how long still."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """An agent that holds some of the room."""

    agent: AgentId
    bundles: int
    held: Resources
    share: float
    """Dominant share of the pool, 0 to 1."""
    ahead: int
    """Bundles that it holds and has not started."""
    revocable: int
    """Grants that stand on another's guarantee."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeskTold:
    """One desk, and why what waits there waits."""

    desk: DeskId
    agent: AgentId
    bundle: Resources
    waits: bool
    waiting: int
    in_hand: int
    turn: TurnId | None = None
    """The turn that was asked about, or the next one."""
    waited_us: Micros | None = None
    """None where the desk did not tell."""
    place: int | None = None
    """In line, from 1; None where it does not stand in line."""
    before: tuple[Before, ...] = ()
    nodes: NodesTold
    in_the_way: tuple[str, ...] = ()
    would_help: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """Why something waits, or that it does not."""

    about: str
    at: Instant
    policy: str
    desks: tuple[DeskTold, ...]
    """Those that wait longest first; `SHOWN_MAX` at most."""
    desks_more: int = 0
    holders: tuple[Holder, ...] = ()
    summary: str


def explain(
    allocator: Allocator,
    now: Instant,
    *,
    agent: AgentId | None = None,
    desk: DeskId | None = None,
    turn: TurnId | None = None,
) -> Explanation:
    """Return why an agent's phases wait, a desk's, or a turn's; one of the three is named.

    Raises:
        BadRequest: none or several are named, or there is no such agent, desk or waiting turn.

    """
    if sum(one is not None for one in (agent, desk, turn)) != 1:
        raise BadRequest("name an agent, a desk or a turn: one of them")
    about, found = _found(allocator, agent, desk, turn)
    told = [_told(allocator, state, turn, now) for state in found]
    told.sort(key=lambda one: (not one.waits, -(one.waited_us or 0), one.desk))
    return Explanation(
        about=about,
        at=now,
        policy=allocator.terms.policy.name,
        desks=tuple(told[:SHOWN_MAX]),
        desks_more=max(0, len(told) - SHOWN_MAX),
        holders=_holders(allocator),
        summary=_summary(about, told),
    )


def _found(
    allocator: Allocator, agent: AgentId | None, desk: DeskId | None, turn: TurnId | None
) -> tuple[str, list[DeskState]]:
    desks = allocator.desks
    if desk is not None:
        if desk not in desks:
            raise BadRequest(f"desk {desk} has not joined; there are {_some(desks)}")
        return f"desk {desk}", [desks[desk]]
    if agent is not None:
        below = [s for s in desks.values() if s.agent == agent or s.agent.startswith(f"{agent}/")]
        if not below:
            known = sorted({state.agent for state in desks.values()})
            raise BadRequest(f"agent {agent} has no desk; there are {_some(known)}")
        return f"agent {agent}", below
    assert turn is not None, "one is named"
    waiting = [state for state in desks.values() if turn in state.waits]
    if not waiting:
        raise BadRequest(
            f"turn {turn} waits at no desk: it is served, over, or its desk has told of others only"
        )
    return f"turn {turn}", waiting


def _told(allocator: Allocator, state: DeskState, turn: TurnId | None, now: Instant) -> DeskTold:
    kind = allocator.books.dispatch.kind_of[state.desk]
    wait = state.waits.get(turn) if turn is not None else state.head()
    waits = state.unmet > 0 and (turn is None or turn not in state.meant)
    place, before = _in_line(allocator, state, now)
    nodes = _nodes(allocator, kind, state, now)
    return DeskTold(
        desk=state.desk,
        agent=state.agent,
        bundle=state.bundle,
        waits=waits,
        waiting=state.waiting,
        in_hand=state.issued,
        turn=wait.turn if wait else None,
        waited_us=since(wait.asked, now) if wait and waits else None,
        place=place,
        before=before,
        nodes=nodes,
        in_the_way=tuple(_in_the_way(allocator, kind, state, now)) if waits else (),
        would_help=tuple(_would_help(allocator, kind, state, nodes)) if waits else (),
    )


def _in_line(
    allocator: Allocator, state: DeskState, now: Instant
) -> tuple[int | None, tuple[Before, ...]]:
    """Return the place among all that wait as the order stands, and who is before."""
    line = line_of(allocator)
    names = [desk for _, desk in line]
    if state.desk not in names:
        return None, ()
    place = names.index(state.desk)
    first = (allocator.desks[desk] for desk in names[: min(place, SHOWN_MAX)])
    return place + 1, tuple(
        Before(
            desk=one.desk,
            agent=one.agent,
            turn=head.turn if (head := one.head()) else None,
            key=key_in_words(allocator, one, now),
        )
        for one in first
    )


def _parts(allocator: Allocator, kind: Kind, node: NodeId) -> list[Part]:
    own = {None, *kind.key.reservations}
    return [part for part in allocator.ledger.rooms.of(node) if part.reserved_for in own]


def _nodes(allocator: Allocator, kind: Kind, state: DeskState, now: Instant) -> NodesTold:
    rooms, recall = allocator.ledger.rooms, allocator.books.recall
    counts: Counter[str] = Counter()
    excluded: Counter[str] = Counter()
    draining: list[NodeId] = []
    refused: dict[NodeId, Micros] = {}
    for node, parts in rooms.parts.items():
        usable = _parts(allocator, kind, node)
        if failing := kind.key.where.failing(parts[None].attributes):
            excluded.update(map(str, failing[:1]))
        elif not any(part.capacity.covers(kind.search) for part in usable):
            whole = allocator.ledger.capacity[node].covers(kind.search)
            counts["reserved" if whole else "too_small"] += 1
        elif node in recall.draining:
            draining.append(node)
        elif state.refuses(node, now):
            refused[node] = since(now, state.refused_until[node])
        elif any(part.free.covers(kind.search) for part in usable):
            counts["room_now"] += 1
        elif any(part.free.covers(kind.search) for part in parts.values()):
            counts["reserved"] += 1
        else:
            counts["no_room_now"] += 1
    return NodesTold(
        all=len(rooms.parts),
        excluded=dict(sorted(excluded.items())),
        draining=tuple(draining[:SHOWN_MAX]),
        refused=dict(list(refused.items())[:SHOWN_MAX]),
        **counts,
    )


def _in_the_way(allocator: Allocator, kind: Kind, state: DeskState, now: Instant) -> Iterator[str]:
    """Yield limits, guarantees and the desk's own conduct, where they are in the way."""
    if state.suppressed:
        yield f"desk {state.desk} is suppressed: it asked to be offered nothing"
    if state.quiet_until > now:
        yield (
            f"desk {state.desk} declines too fast: it is left alone for "
            f"{_seconds(since(now, state.quiet_until))} still"
        )
    most = allocator.terms.offers_per_desk_max
    if state.issued >= most:
        yield f"desk {state.desk} holds {state.issued} offers, and {most} is the most"
    role = allocator.ledger.roles.get(state.agent)
    for one in role.way_up():
        limit = one.terms.limit
        if limit is not None and not limit.covers(one.held + state.bundle):
            yield f"the limit of {one.role_id} is {limit}, and it holds {one.held}"
    best = allocator.policy.desk_key(state.claim())
    pool = allocator.ledger.total
    top = list(role.way_up())[-1]
    if len(top.role_id) and allocator.policy.role_key(top, best, state.bundle, pool) is None:
        yield f"the policy gives {top.role_id} no more now: it holds {top.held}"
    unmet = allocator.ledger.roles.unmet
    if unmet and not role.within_guarantee(state.bundle):
        yield f"guarantees of others that are not met ({unmet}) come first"
    if kind.full:
        yield "no node that it may use has room"


def _would_help(
    allocator: Allocator, kind: Kind, state: DeskState, nodes: NodesTold
) -> Iterator[str]:
    """Yield what would let it be served, in words."""
    if not nodes.all:
        yield "a node that joins"
    if nodes.no_room_now:
        yield f"a bundle of {kind.search} freed on any of {nodes.no_room_now} nodes"
    role = allocator.ledger.roles.get(state.agent)
    for one in role.way_up():
        if one.terms.limit is not None and not one.terms.limit.covers(one.held + state.bundle):
            yield f"the limit of {one.role_id} raised, or some of its {one.bundles} bundles ended"
    for condition, count in nodes.excluded.items():
        yield f"the filter {condition} met by a node: {count} do not meet it"
    for node, left in nodes.refused.items():
        yield f"the refusal of {node} ends in {_seconds(left)}"
    for node in nodes.draining:
        yield f"node {node} reopened: it drains"
    if nodes.reserved:
        yield f"what is reserved for others on {nodes.reserved} nodes given up"
    if nodes.too_small:
        yield f"a smaller bundle: {nodes.too_small} nodes are too small for {kind.search}"
    yield from _under_way(allocator, kind)
    if state.suppressed:
        yield f"desk {state.desk} revives"


def _under_way(allocator: Allocator, kind: Kind) -> Iterator[str]:
    """Yield what is being taken back already."""
    if voiding := sum(shelf.voiding for shelf in kind.shelves):
        yield f"the engines' word on {voiding} offers that are being taken back"
    books = allocator.books
    if books.recall.asked:
        yield f"the end of {len(books.recall.asked)} grants that have been asked back"
    if books.gangs.gathering is not None:
        held = sum(offer.state is GATHERED for offer in allocator.ledger.offers.values())
        yield f"gang {books.gangs.gathering}, for which {held} bundles are set aside, served"


def _holders(allocator: Allocator) -> tuple[Holder, ...]:
    """Return who holds the room, the largest share first."""
    ledger = allocator.ledger
    ahead: Counter[AgentId] = Counter()
    revocable: Counter[AgentId] = Counter()
    agents: dict[AgentId, None] = {}
    for offer in ledger.offers.values():
        agents[offer.agent] = None
        ahead[offer.agent] += offer.state in (ISSUED, VOIDING)
        revocable[offer.agent] += offer.revocable and offer.state is ACCEPTED
    shares = {one: dominant_share(ledger.held_by(one), ledger.total) for one in agents}
    largest = sorted(agents, key=lambda one: (-shares[one], one))
    return tuple(
        Holder(
            agent=one,
            bundles=ledger.roles.get(RoleId(one)).bundles,
            held=ledger.held_by(one),
            share=round(as_fraction(shares[one]), 4),
            ahead=ahead[one],
            revocable=revocable[one],
        )
        for one in largest[:SHOWN_MAX]
    )


def _summary(about: str, told: list[DeskTold]) -> str:
    waiting = [one for one in told if one.waits]
    if not waiting:
        held = sum(one.in_hand for one in told)
        return f"{about} does not wait; {held} offers are in hand"
    first = waiting[0]
    for_how_long = "" if first.waited_us is None else f" for {_seconds(first.waited_us)}"
    why = first.in_the_way[0] if first.in_the_way else "others are before it"
    place = "not in line" if first.place is None else f"number {first.place} in line"
    return f"{about} waits{for_how_long}, {place}: {why}"


def _seconds(amount: Micros) -> str:
    return f"{amount / SECOND:.1f} s"


def _some(names: Mapping[DeskId, DeskState] | list[AgentId]) -> str:
    shown = ", ".join(sorted(names)[:SHOWN_MAX])
    return shown or "none"
