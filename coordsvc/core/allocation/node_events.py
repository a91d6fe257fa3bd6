"""What happens in the pool when something is told of a node."""

from coordsvc.core.allocation.books import Books, is_here
from coordsvc.core.allocation.bounds import check_attributes, check_name
from coordsvc.core.errors import ProtocolError
from coordsvc.core.messages import (
    Drained,
    Effect,
    Granted,
    NodeDraining,
    NodeJoined,
    NodeLost,
    NodeReopened,
    Preempt,
    Reconciled,
    Void,
    Voided,
    Withdraw,
)
from coordsvc.core.offers import ACCEPTED, GATHERED, ISSUED, RELEASED, RESCINDED, VOIDING, Offer
from coordsvc.core.resources import Resources
from coordsvc.core.units import Instant, NodeId, OfferId, RoleId


def node_joined(books: Books, now: Instant, event: NodeJoined) -> list[Effect]:
    """Take in an engine, with what runs there, fenced for this epoch."""
    node = event.node
    if node in books.ledger.capacity:
        raise ProtocolError(f"node {node} has joined already")
    if len(books.ledger.capacity) >= books.terms.nodes_max:
        raise ProtocolError(books.met("nodes_max"))
    check_name(node, books.terms)
    check_attributes(event.attributes, books.terms)
    reserved = sum(event.reserved.values(), start=Resources())
    if not event.capacity.covers(reserved):
        raise ProtocolError(f"node {node} has {event.capacity}; {reserved} is reserved of it")
    _check_running(books, event)
    parts = _parts_of_running(books, event)
    known = {shelf.reserved_for for shelf in books.ledger.rooms.shelves.values()}
    books.ledger.add_node(
        node, event.capacity, dict(event.attributes), event.reserved if parts is not None else {}
    )
    if not known.issuperset(event.reserved):
        books.dispatch.tell_kinds_anew()
    effects: list[Effect] = []
    for grant in event.running:
        offer = Offer(
            offer_id=grant.offer_id,
            agent=grant.agent,
            desk=grant.desk,
            node=node,
            bundle=grant.bundle,
            expires_at=now,
            since=now,
            state=ACCEPTED,
            reserved_for=parts[grant.offer_id] if parts is not None else None,
        )
        books.ledger.enter(offer)
        books.dispatch.held_changed(offer.agent)
        effects.append(Granted(offer))
    return effects


def _check_running(books: Books, event: NodeJoined) -> None:
    """Refuse a node that runs more than it has, or what is known to run elsewhere."""
    running = sum((grant.bundle for grant in event.running), start=Resources())
    if not event.capacity.covers(running):
        raise ProtocolError(f"node {event.node} has {event.capacity}, and says that {running} runs")
    if len({grant.offer_id for grant in event.running}) < len(event.running):
        raise ProtocolError(f"node {event.node} says of one grant twice that it runs")
    for grant in event.running:
        if grant.offer_id in books.ledger.offers or grant.offer_id > books.issuer.last():
            raise ProtocolError(f"offer {grant.offer_id} was not made on node {event.node}")


def _parts_of_running(books: Books, event: NodeJoined) -> dict[OfferId, RoleId | None] | None:
    """Return out of which part of a node each grant runs that was there before us.

    None if they fit the node, but not its parts: then it is joined without reservations.
    """
    free: dict[RoleId | None, Resources] = {None: event.capacity}
    for role, amount in event.reserved.items():
        free[role] = amount
        free[None] -= amount
    found: dict[OfferId, RoleId | None] = {}
    for grant in event.running:
        own = [role.role_id for role in books.ledger.roles.get(grant.agent).way_up()]
        parts: list[RoleId | None] = [role for role in own if role in free]
        fits = (part for part in (*parts, None) if free[part].covers(grant.bundle))
        try:
            part = next(fits)
        except StopIteration:
            return None
        free[part] -= grant.bundle
        found[grant.offer_id] = part
    return found


def node_lost(books: Books, now: Instant, event: NodeLost) -> list[Effect]:
    """End everything on an engine that is no more."""
    node = event.node
    is_here(books, node)
    books.recall.draining.pop(node, None)
    effects: list[Effect] = []
    offers = books.ledger.on_node(node)
    for offer in offers:
        if books.ledger.offers[offer.offer_id].state is ISSUED:  # else its gang was broken up
            effects.append(Withdraw(offer))
        effects += books.free(now, offer.offer_id, RESCINDED)
    books.gangs.node_lost(frozenset(offer.offer_id for offer in offers))
    books.ledger.remove_node(node)
    books.issuer.cached.pop(node, None)
    for offer_id in books.told_ended.pop(node, {}):
        books.doubted.pop(offer_id, None)
    for state in books.dispatch.desks.values():
        state.refused_until.pop(node, None)
    return effects


def draining(books: Books, now: Instant, event: NodeDraining) -> list[Effect]:
    """Offer nothing more on a node, and take back what is there."""
    asked_back = books.recall.drain(now, event)
    effects: list[Effect] = []
    gathered = [one for one in books.ledger.on_node(event.node) if one.state is GATHERED]
    books.gangs.node_lost(frozenset(one.offer_id for one in gathered))
    for offer in gathered:
        books.free(now, offer.offer_id, RESCINDED)  # nobody knew of it
    for offer in books.ledger.on_node(event.node):
        if books.ledger.offers[offer.offer_id].state is ISSUED:  # else its gang was broken up
            effects += books.take_back(now, offer)
    effects += asked_back
    if not books.ledger.on_node(event.node):
        effects.append(Drained(event.node))
    return effects


def reopened(books: Books, now: Instant, event: NodeReopened) -> list[Effect]:
    """Offer a node again."""
    del now
    books.recall.reopen(event.node)
    return []


def reconciled(books: Books, now: Instant, event: Reconciled) -> list[Effect]:
    """Take an engine's word for what runs there and what has ended."""
    is_here(books, event.node)
    if event.cached is not None:
        _learn_cached(books, event.node, event.cached)
    effects: list[Effect] = []
    for offer_id in event.finished:
        if (offer := books.ledger.offers.get(offer_id)) and offer.state is not GATHERED:
            effects += books.finish(now, offer_id)
    for offer in books.ledger.on_node(event.node):
        if offer.state is GATHERED:
            continue
        if offer.offer_id in event.running:
            books.unseen.pop(offer.offer_id, None)
            if offer.state is not ACCEPTED:
                effects += books.start(now, offer, offer.bundle)
        elif offer.state is not ISSUED:
            effects += _not_seen(books, offer)
    return effects + _runs_all_the_same(books, event)


def _runs_all_the_same(books: Books, event: Reconciled) -> list[Effect]:
    """Have the engine end what a desk said has ended, and what runs in two reports after that.

    Once may be a report that was under way. Its bundle may be somebody else's already.
    """
    told = books.told_ended.pop(event.node, {})
    runs = {offer_id: offer for offer_id, offer in told.items() if offer_id in event.running}
    again = [offer for offer_id, offer in runs.items() if offer_id in books.doubted]
    for offer_id in told:
        books.doubted.pop(offer_id, None)
    if runs:
        books.told_ended[event.node] = runs
        books.doubted.update(dict.fromkeys(runs))
    return [Preempt(offer) for offer in again]


def _learn_cached(books: Books, node: NodeId, cached: frozenset[str]) -> None:
    most = books.terms.cached_per_node_max
    if len(cached) > most:
        books.met("cached_per_node_max")
        cached = frozenset(sorted(cached)[:most])
    books.issuer.cached[node] = cached


def _not_seen(books: Books, offer: Offer) -> list[Effect]:
    """Ask about an offer whose work, or whose voiding, seems not to reach its engine."""
    books.unseen[offer.offer_id] = unseen = books.unseen.get(offer.offer_id, 0) + 1
    return [Void(offer)] if unseen >= books.terms.unseen_max else []


def voided(books: Books, now: Instant, event: Voided) -> list[Effect]:
    """Take an engine's answer to whether an offer was started."""
    offer = books.ledger.find(event.offer_id)
    if event.was_started:
        return books.start(now, offer, offer.bundle) if offer.state is VOIDING else []
    if offer.state in (ISSUED, GATHERED):
        raise ProtocolError(f"offer {event.offer_id} was not to be voided")
    return books.free(now, event.offer_id, offer.voided_as or RELEASED)
