"""Shelves of nodes against a dumb twin that looks at every node."""

from collections.abc import Callable

from hypothesis import given, settings
from hypothesis import strategies as st

from coordsvc.core.allocation.rooms import FAN, Part, Rooms, Shelf, most_room
from coordsvc.core.resources import Resources
from coordsvc.core.units import NodeId, RoleId

AMOUNTS = st.integers(0, 6)
CAPACITIES = st.sampled_from([Resources(4, 4, 4), Resources(6, 2, 0), Resources(1, 6, 6)])
BUNDLES = st.builds(Resources, AMOUNTS, AMOUNTS, AMOUNTS).filter(bool)
ATTRIBUTES = st.fixed_dictionaries({"model": st.sampled_from("ab"), "host": st.sampled_from("xyz")})
RESERVED = st.sampled_from([{}, {}, {RoleId("acme"): Resources(1, 1, 0)}])
MOVES = st.lists(
    st.one_of(
        st.tuples(st.just("add"), CAPACITIES, ATTRIBUTES, RESERVED),
        st.tuples(st.just("set"), st.integers(0, 99), BUNDLES),
        st.tuples(st.just("close"), st.integers(0, 99)),
        st.tuples(st.just("remove"), st.integers(0, 99)),
    ),
    min_size=5,
    max_size=60,
)


def fits(part: Part, bundle: Resources) -> int:
    return part.free.times_held(bundle) if part.open else 0


def scanned(
    shelf: Shelf, bundle: Resources, allowed: Callable[[Part], bool] = lambda _: True
) -> tuple[int, Part] | None:
    """Look at every part of a shelf; of equal ones take that of the lowest place."""
    parts = [part for part in shelf.parts if part is not None and allowed(part)]
    best = max(parts, key=lambda part: (fits(part, bundle), -part.place), default=None)
    if best is None or not fits(best, bundle):
        return None
    return fits(best, bundle), best


def fits_in_largest(shelf: Shelf, bundle: Resources) -> int:
    """Return how often a bundle fits in the largest amounts, of whichever parts they are."""
    free = [part.free for part in shelf.parts if part is not None and part.open]
    largest = Resources()
    for amounts in free:
        largest = largest.at_least(amounts)
    return largest.times_held(bundle)


def scanned_all(shelves: list[Shelf], bundle: Resources) -> Part | None:
    """Look at every shelf: a reserved one with room ends it, else the first of the best."""
    best: tuple[int, Part] | None = None
    for found in (scanned(shelf, bundle) for shelf in shelves):
        if found is None:
            continue
        if found[1].reserved_for is not None:
            return found[1]
        if best is None or found[0] > best[0]:
            best = found
    return best[1] if best else None


def in_order(rooms: Rooms) -> list[Shelf]:
    """Return all shelves, reserved ones first."""
    return sorted(rooms.shelves.values(), key=lambda shelf: shelf.reserved_for is None)


class Played:
    """Rooms to which random moves happen."""

    def __init__(self) -> None:
        self.rooms = Rooms()
        self.rooms.ask_for(frozenset({"model"}))
        self.count = 0

    def parts(self) -> list[Part]:
        return [part for node in self.rooms.parts for part in self.rooms.of(node)]

    def move(self, kind: str, *what: object) -> None:
        if kind == "add":
            self.count += 1
            self.rooms.add(NodeId(f"n{self.count}"), *what)
            return
        if not (parts := self.parts()):
            return
        part = parts[what[0] % len(parts)]
        if kind == "remove":
            self.rooms.remove(part.node)
        elif kind == "close":
            part.open = not part.open
            part.shelf.changed(part)
        else:
            part.free = part.capacity.at_most(what[1])
            part.shelf.changed(part)


@settings(max_examples=120, deadline=None)
@given(MOVES, st.lists(BUNDLES, min_size=1, max_size=3))
def test_the_best_part_is_what_a_scan_of_all_finds(
    moves: list[tuple[object, ...]], bundles: list[Resources]
) -> None:
    played = Played()
    for move in moves:
        played.move(*move)
        for bundle in bundles:
            for shelf in played.rooms.shelves.values():
                assert shelf.best(bundle) == scanned(shelf, bundle)
                assert shelf.fits_at_most(bundle) == fits_in_largest(shelf, bundle)
            shelves = in_order(played.rooms)
            assert most_room(shelves, bundle) is scanned_all(shelves, bundle)


@settings(max_examples=60, deadline=None)
@given(MOVES, BUNDLES, st.sets(st.integers(1, 30)))
def test_a_part_that_is_not_allowed_is_passed_over(
    moves: list[tuple[object, ...]], bundle: Resources, refused: set[int]
) -> None:
    played = Played()
    for move in moves:
        played.move(*move)
    names = {f"n{number}" for number in refused}
    for shelf in played.rooms.shelves.values():
        found = shelf.best(bundle, lambda part: part.node not in names)
        assert found == scanned(shelf, bundle, lambda part: part.node not in names)


@settings(max_examples=40, deadline=None)
@given(MOVES)
def test_every_part_stands_on_one_shelf_with_those_that_are_like_it(
    moves: list[tuple[object, ...]],
) -> None:
    played = Played()
    for move in moves:
        played.move(*move)
    for part in played.parts():
        assert part.shelf.parts[part.place] is part
        assert part.shelf.capacity == part.capacity
        assert part.shelf.reserved_for == part.reserved_for
        assert part.shelf.attributes == {"model": part.attributes["model"]}
    assert sum(map(len, played.rooms.shelves.values())) == len(played.parts())
    assert all(len(shelf) for shelf in played.rooms.shelves.values()), "no shelf is empty"


def alike(count: int) -> Rooms:
    rooms = Rooms()
    for number in range(count):
        rooms.add(NodeId(f"n{number}"), Resources(gpu_milli=1_000), {}, {})
    return rooms


def only_shelf(rooms: Rooms) -> Shelf:
    (shelf,) = rooms.shelves.values()
    return shelf


def test_of_equal_nodes_the_one_that_came_first_is_the_best() -> None:
    rooms = alike(FAN**2 + 1)
    found = only_shelf(rooms).best(Resources(gpu_milli=250))
    assert found is not None
    assert (found[0], found[1].node) == (4, "n0")


def test_room_at_the_far_end_of_a_large_shelf_is_found() -> None:
    rooms = alike(FAN**3 + 1)
    shelf = only_shelf(rooms)
    for part in shelf.parts[:-1]:
        part.free = Resources(gpu_milli=100)
        shelf.changed(part)
    found = shelf.best(Resources(gpu_milli=250))
    assert found is not None
    assert found[1].node == f"n{FAN**3}"


def test_the_place_of_a_node_that_left_is_used_again() -> None:
    rooms = alike(3)
    rooms.remove(NodeId("n1"))
    assert len(only_shelf(rooms)) == 2
    rooms.add(NodeId("late"), Resources(gpu_milli=1_000), {}, {})
    assert [part.node for part in only_shelf(rooms).parts if part] == ["n0", "late", "n2"]


def test_largest_amounts_on_two_nodes_are_not_taken_for_room_on_one() -> None:
    rooms = Rooms()
    for name in ("much gpu", "much cpu"):
        rooms.add(NodeId(name), Resources(4, 4, 0), {}, {})
    shelf = only_shelf(rooms)
    for part, free in zip(shelf.parts, (Resources(4, 1, 0), Resources(1, 4, 0)), strict=True):
        part.free = free
        shelf.changed(part)
    assert shelf.fits_at_most(Resources(2, 2, 0)) == 2
    assert shelf.best(Resources(2, 2, 0)) is None


def test_a_shelf_that_promises_more_than_it_has_is_not_the_last_looked_at() -> None:
    rooms = Rooms()
    for name in ("much gpu", "much cpu"):
        rooms.add(NodeId(name), Resources(4, 4, 0), {}, {})
    promising = only_shelf(rooms)
    for part, free in zip(promising.parts, (Resources(4, 1, 0), Resources(1, 4, 0)), strict=True):
        part.free = free
        promising.changed(part)
    rooms.add(NodeId("both"), Resources(2, 2, 0), {}, {})
    found = most_room(in_order(rooms), Resources(1, 1, 0))
    assert found is not None
    assert found.node == "both"


def test_nodes_are_told_apart_only_by_what_some_filter_asks_for() -> None:
    rooms = Rooms()
    for zone in ("north", "south", "south"):
        number = len(rooms.parts)
        rooms.add(NodeId(f"n{number}"), Resources(1, 1, 1), {"zone": zone, "rack": str(number)}, {})
    assert len(rooms.shelves) == 1
    version = rooms.version
    assert rooms.ask_for(frozenset({"zone"}))
    assert rooms.version > version
    assert sorted(len(shelf) for shelf in rooms.shelves.values()) == [1, 2]
    assert not rooms.ask_for(frozenset({"zone"})), "asked for already"


def test_what_is_reserved_is_a_part_of_its_own_and_comes_first() -> None:
    rooms = Rooms()
    acme = RoleId("acme")
    rooms.add(NodeId("n1"), Resources(4, 4, 4), {}, {acme: Resources(1, 1, 1)})
    mine, rest = rooms.of(NodeId("n1"))
    assert (mine.reserved_for, mine.free) == (acme, Resources(1, 1, 1))
    assert (rest.reserved_for, rest.free) == (None, Resources(3, 3, 3))
    assert most_room([mine.shelf, rest.shelf], Resources(1, 1, 1)) is mine
    assert most_room([mine.shelf, rest.shelf], Resources(2, 0, 0)) is rest


def test_a_node_that_is_not_here_has_no_parts() -> None:
    assert list(Rooms().of(NodeId("nowhere"))) == []


def test_offers_that_are_being_asked_about_go_where_their_part_goes() -> None:
    rooms = alike(2)
    shelf = only_shelf(rooms)
    (part,) = rooms.of(NodeId("n0"))
    part.voiding += 2
    shelf.voiding += 2
    rooms.remove(NodeId("n0"))
    assert shelf.voiding == 0


def test_a_shelf_filled_anew_gives_each_part_the_place_it_had() -> None:
    shelf = only_shelf(alike(5))
    placed = {part.place: part for part in shelf.parts if part and part.place in (1, 4)}
    other = Shelf(shelf.signature, shelf.attributes)
    other.fill(placed)
    assert [part.node if part else None for part in other.parts] == [None, "n1", None, None, "n4"]
    assert len(other) == 2
    found = other.best(Resources(gpu_milli=500))
    assert found is not None
    assert found[1].node == "n1"
