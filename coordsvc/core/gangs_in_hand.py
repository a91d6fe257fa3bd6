"""A desk's gangs: asked for, in hand as a whole, or given back as a whole."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from coordsvc.core.messages import GangGivenUp, GangWanted, Member
from coordsvc.core.offers import Grant
from coordsvc.core.units import DeskId, GangId, Instant, NodeId, OfferId


@dataclass(slots=True)
class GangsInHand:
    """What is asked for, what is there, and what is to be told."""

    wanted: dict[GangId, GangWanted] = field(default_factory=dict)
    refused: dict[GangId, str] = field(default_factory=dict)
    """Why the allocator does not serve them."""
    news: list[GangWanted | GangGivenUp] = field(default_factory=list)
    _held: dict[GangId, list[tuple[Grant, Instant]]] = field(default_factory=dict)
    """The offers of each, with when they lapse."""

    def ask(self, gang: GangId, desk: DeskId, members: tuple[Member, ...]) -> None:
        """Want bundles that must be held at the same time."""
        assert gang not in self.wanted, "a gang is asked for once"
        self.wanted[gang] = wanted = GangWanted(gang, desk, members)
        self.news.append(wanted)

    def ask_again(self) -> None:
        """Tell again what is still wanted: whoever should know of it may have never heard."""
        given_up = [one for one in self.news if isinstance(one, GangGivenUp)]
        missing = [wanted for gang, wanted in self.wanted.items() if gang not in self._held]
        self.news = [*given_up, *missing]

    def offered(self, gang: GangId, grant: Grant, lapses: Instant) -> bool:
        """Take an offer of a gang; return whether anybody still wants it."""
        if gang not in self.wanted:
            return False
        self._held.setdefault(gang, []).append((grant, lapses))
        return True

    def ready(self) -> tuple[GangId, ...]:
        """Return the gangs that are in hand: their offers come together."""
        return tuple(self._held)

    def take(self, gang: GangId) -> tuple[Grant, ...]:
        """Return all grants of a gang that is in hand; it is no longer wanted."""
        del self.wanted[gang]
        return tuple(grant for grant, _ in self._held.pop(gang))

    def give_up(self, gang: GangId) -> tuple[OfferId, ...]:
        """Want a gang no more; return what of it is to be given back."""
        self.refused.pop(gang, None)
        if self.wanted.pop(gang, None) is not None and gang not in self._held:
            self.news.append(GangGivenUp(gang))
        return tuple(grant.offer_id for grant, _ in self._held.pop(gang, []))

    def lost(self, offers: Iterable[OfferId]) -> tuple[OfferId, ...]:
        """Ask anew for the gangs of which one of these was; return the rest, to be given back."""
        gone = set(offers)
        return self._without(lambda grant, _: grant.offer_id in gone, gone)

    def node_lost(self, node: NodeId) -> tuple[OfferId, ...]:
        """Ask anew for the gangs that were partly on a dead node; return the rest of them."""
        gone = {
            grant.offer_id
            for held in self._held.values()
            for grant, _ in held
            if grant.node == node
        }
        return self.lost(gone)

    def lapsed(self, now: Instant) -> tuple[OfferId, ...]:
        """Ask anew for the gangs of which one has run out; return all of it."""
        return self._without(lambda _, lapses: lapses <= now, set())

    def _without(
        self, is_gone: Callable[[Grant, Instant], bool], gone: set[OfferId]
    ) -> tuple[OfferId, ...]:
        rest: list[OfferId] = []
        for gang, held in tuple(self._held.items()):
            if any(is_gone(grant, lapses) for grant, lapses in held):
                del self._held[gang]
                rest += [grant.offer_id for grant, _ in held if grant.offer_id not in gone]
                self.news.append(self.wanted[gang])
        return tuple(rest)
