"""What happens in the pool when something is told of a desk, or by one."""

from coordsvc.core.allocation.books import Books
from coordsvc.core.allocation.bounds import (
    check_agent,
    check_filter,
    check_name,
    make_room_for_a_role,
)
from coordsvc.core.allocation.desks import DeskState
from coordsvc.core.errors import ProtocolError
from coordsvc.core.messages import (
    Accepted,
    Declined,
    DeskEvent,
    DeskJoined,
    DeskLost,
    Effect,
    Finished,
    GangGivenUp,
    GangWanted,
    Held,
    Revived,
    Suppressed,
    Wanted,
)
from coordsvc.core.offers import DECLINED, GATHERED, ISSUED, Offer
from coordsvc.core.resources import Resources
from coordsvc.core.units import Instant


def desk_joined(books: Books, now: Instant, event: DeskJoined) -> list[Effect]:
    """Take in a desk, if what it asks for could ever be."""
    del now
    if event.desk in books.dispatch.desks:
        raise ProtocolError(f"desk {event.desk} has joined already")
    if len(books.dispatch.desks) >= books.terms.desks_max:
        raise ProtocolError(books.met("desks_max"))
    _check_names(books, event)
    least = event.least or event.bundle
    if not least or not event.bundle:
        raise ProtocolError(f"desk {event.desk} asks for bundles of nothing")
    if not event.bundle.covers(least):
        raise ProtocolError(
            f"desk {event.desk} asks for at least {least}, and at most {event.bundle}"
        )
    _check_fits_somewhere(books, event, least.at_least(event.where.free_at_least))
    state = DeskState(
        desk=event.desk,
        agent=event.agent,
        bundle=event.bundle,
        least=least,
        where=event.where,
    )
    books.dispatch.join(state)
    return []


def _check_names(books: Books, event: DeskJoined) -> None:
    """Refuse names and filters that are larger than what may be kept."""
    check_name(event.desk, books.terms)
    check_agent(event.agent, books.terms)
    check_filter(event.where, books.terms)
    asked_for = books.ledger.rooms.asked_for | event.where.names()
    if len(asked_for) > books.terms.filter_names_max:
        raise ProtocolError(books.met("filter_names_max"))
    agents = (state.agent for state in books.dispatch.desks.values())
    make_room_for_a_role(books.ledger.roles, agents, books.terms)


def _check_fits_somewhere(books: Books, event: DeskJoined, least: Resources) -> None:
    """Refuse at once what no node could ever hold; where there are no nodes yet, wait."""
    shelves = [
        shelf
        for shelf in books.ledger.rooms.shelves.values()
        if shelf.capacity
        and (shelf.reserved_for is None or f"{event.agent}/".startswith(f"{shelf.reserved_for}/"))
    ]
    if shelves and not any(shelf.capacity.covers(least) for shelf in shelves):
        largest = max(shelves, key=lambda shelf: shelf.capacity.at_most(least).amounts())
        raise ProtocolError(
            f"desk {event.desk} asks for {least}; the largest that fits any node is "
            f"{largest.capacity.at_most(least)}"
        )


def desk_lost(books: Books, now: Instant, event: DeskLost) -> list[Effect]:
    """Take back what a desk that is no more had not started."""
    state = books.desk(event.desk)
    books.gangs.desk_lost(event.desk, now)
    effects: list[Effect] = []
    for offer in books.ledger.issued_to(event.desk):
        if books.ledger.offers[offer.offer_id].state is ISSUED:  # else its gang was broken up
            effects += books.take_back(now, offer, tell=False)
    books.dispatch.leave(state)
    books.recall.left(event.desk)
    return effects


def wanted(books: Books, now: Instant, event: Wanted) -> list[Effect]:
    """Take what a desk wants in the place of what it wanted before."""
    state = books.desk(event.desk)
    if event.waiting < 0 or event.ahead < 0:
        raise ProtocolError(f"desk {event.desk} wants {event.waiting} and {event.ahead} offers")
    if event.waiting + event.ahead > books.terms.offers_per_desk_max:
        books.met("offers_per_desk_max")
    longest = books.terms.name_chars_max
    told = event.waits
    if any(len(wait.turn) > longest or len(wait.prefix) > longest for wait in told):
        books.met("name_chars_max")
        told = tuple(w for w in told if len(w.turn) <= longest and len(w.prefix) <= longest)
    if len(told) > books.terms.waits_per_desk_max:
        books.met("waits_per_desk_max")
        told = told[: books.terms.waits_per_desk_max]
    waits = [wait.seen(now) for wait in told]
    policy, capacity = books.dispatch.policy, books.ledger.total
    for wait in waits:
        if wait.turn not in state.waits:
            policy.arrived(now, state.agent, wait, capacity)
    state.waiting, state.ahead = event.waiting, event.ahead
    state.hears_of(waits, policy)
    books.desk_changed(state)
    return []


def suppressed(books: Books, now: Instant, event: Suppressed) -> list[Effect]:
    """Offer a desk nothing until it revives."""
    del now
    state = books.desk(event.desk)
    state.suppressed = True
    books.desk_changed(state)
    return []


def revived(books: Books, now: Instant, event: Revived) -> list[Effect]:
    """Offer a desk something again, on any node."""
    del now
    state = books.desk(event.desk)
    state.suppressed = False
    state.refused_until.clear()
    books.dispatch.no_longer_picky(event.desk)
    books.desk_changed(state)
    return []


def held(books: Books, now: Instant, event: Held) -> list[Effect]:
    """Take back what a desk does not know that it was offered."""
    books.desk(event.desk)
    effects: list[Effect] = []
    for offer in books.ledger.issued_to(event.desk):
        lost = offer.offer_id not in event.offers
        if lost and books.ledger.offers[offer.offer_id].state is ISSUED:
            effects += books.take_back(now, offer)
    return effects


def accepted(books: Books, now: Instant, event: Accepted) -> list[Effect]:
    """Take an offer as started, and the rest of its bundle as declined."""
    offer = _own(books, event)
    if not event.used:
        raise ProtocolError(f"offer {event.offer_id} is accepted with nothing; decline it")
    effects = books.start(now, offer, event.used)
    if event.used != offer.bundle:
        books.refuse(now, offer, event.refuse_for)
    return effects


def declined(books: Books, now: Instant, event: Declined) -> list[Effect]:
    """Take an offer back that its desk never started."""
    offer = _own(books, event)
    effects = books.free(now, event.offer_id, DECLINED)
    books.refuse(now, offer, event.refuse_for)
    books.count_decline(now, offer.desk)
    return effects


def finished(books: Books, now: Instant, event: Finished) -> list[Effect]:
    """Take the engine's word, relayed by a desk, that a grant has ended."""
    _own(books, event)
    offer = books.ledger.find(event.offer_id)
    books.ended_on_word(offer)
    phase = event.phase
    if len(phase) > books.terms.name_chars_max:
        books.met("name_chars_max")
        phase = ""
    return books.finish(now, event.offer_id, event.compute_us, late=event.late, phase=phase)


def _own(books: Books, event: DeskEvent) -> Offer:
    """Return the offer that an event is about; refuse what another desk than its own says."""
    offer = books.ledger.find(event.offer_id)
    if event.by is not None and event.by != offer.desk:
        raise ProtocolError(f"offer {event.offer_id} is not desk {event.by}'s to speak of")
    if offer.state is GATHERED:
        raise ProtocolError(f"offer {event.offer_id} is not known to anybody yet")
    return offer


def gang_wanted(books: Books, now: Instant, event: GangWanted) -> list[Effect]:
    """Take in a gang that waits."""
    books.gangs.want(now, event)
    return []


def gang_given_up(books: Books, now: Instant, event: GangGivenUp) -> list[Effect]:
    """Strike out a gang that nobody waits for any more."""
    books.gangs.give_up(event.gang, now, by=event.by)
    return []
