"""Lines of claims against plain sorting."""

from hypothesis import given, settings
from hypothesis import strategies as st

from coordsvc.core.allocation.queues import Kind, KindKey, Place, Ranking
from coordsvc.core.filters import ANY_NODE
from coordsvc.core.policies.fair_share import FairShare
from coordsvc.core.policies.first_come import FirstCome
from coordsvc.core.resources import Resources
from coordsvc.core.roles import Role, Roles, RoleTerms
from coordsvc.core.units import AgentId, DeskId, RoleId

BUNDLE, POOL = Resources(gpu_milli=500), Resources(gpu_milli=100_000)
AGENTS = ("acme/planner", "acme/checker", "bird/planner", "alone", "acme")
NAMES = st.sampled_from("abcdefg")
KEYS = st.integers(0, 9)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("put"), NAMES, st.sampled_from(AGENTS), st.booleans(), KEYS),
        st.tuples(st.just("strike"), NAMES),
        st.tuples(st.just("hold"), st.sampled_from(AGENTS), st.integers(1, 4)),
        st.tuples(st.just("give back"), st.sampled_from(AGENTS), st.integers(1, 4)),
    ),
    max_size=50,
)


@given(st.lists(st.tuples(NAMES, st.none() | KEYS), max_size=80))
def test_the_first_of_a_ranking_is_the_least_of_all_that_stand_in_it(
    moves: list[tuple[str, int | None]],
) -> None:
    ranking, twin = Ranking(), {}
    for name, key in moves:
        if key is None:
            ranking.strike(name)
            twin.pop(name, None)
        else:
            twin[name] = place = (False, False, (key,), name)
            ranking.put(name, place)
        expected = min(((place, name) for name, place in twin.items()), default=None)
        assert ranking.first() == expected
    assert ranking.places == twin


@given(st.dictionaries(NAMES, KEYS))
def test_a_ranking_is_emptied_in_order(keys: dict[str, int]) -> None:
    ranking = Ranking()
    for name, key in keys.items():
        ranking.put(name, (False, False, (key,), name))
    seen = []
    while (found := ranking.first()) is not None:
        seen.append(found[1])
        ranking.strike(found[1])
    assert seen == sorted(keys, key=lambda name: (keys[name], name))


def test_places_that_nobody_has_any_more_do_not_pile_up() -> None:
    ranking = Ranking()
    for key in range(1_000):
        ranking.put("restless", (False, False, (key,), "restless"))
    assert len(ranking._heap) < 20


class Lines:
    """A kind, and a plain list of the same claims."""

    def __init__(self, roles: Roles) -> None:
        self.roles, self.policy = roles, FairShare()
        self.kind = Kind(KindKey(BUNDLE, BUNDLE, ANY_NODE, ()), search=BUNDLE)
        self.claims: dict[str, tuple[str, Place]] = {}
        self.held = dict.fromkeys(AGENTS, 0)

    def step(self, what: str, *how: object) -> None:
        if what == "put":
            name, agent, ahead, key = how
            if name in self.claims:
                agent = self.claims[name][0]  # a desk stays with its agent
            place: Place = (ahead, False, (key,), name)
            self.claims[name] = agent, place
            role = self.roles.get(agent)
            self.kind.put(DeskId(name), place, role, self.policy, POOL)
        elif what == "strike":
            (name,) = how
            if name in self.claims:
                agent, _ = self.claims.pop(name)
                self.kind.strike(DeskId(name), self.roles.get(agent), self.policy, POOL)
        else:
            agent, bundles = how
            self._hold(agent, bundles if what == "hold" else -min(bundles, self.held[agent]))

    def _hold(self, agent: str, more: int) -> None:
        self.held[agent] += more
        amount = Resources(gpu_milli=500 * abs(more))
        if more >= 0:
            self.roles.book(AgentId(agent), amount, more)
        else:
            self.roles.unbook(AgentId(agent), amount, -more)
        self.kind.moved(self.roles.get(agent), self.policy, POOL)

    def scanned(self, above: str = "") -> tuple[tuple[Place, ...], str] | None:
        """Find who is next below a role by looking at all that is there."""
        best: tuple[tuple[Place, ...], str] | None = None
        for name, (agent, place) in self.claims.items():
            if agent == above:
                best = min(filter(None, (best, ((place,), name))))
        for role in self.roles.known.values():
            if role.parent is None or role.parent.role_id != above:
                continue
            below = self.scanned(role.role_id)
            place = self._place(role, below[0][0]) if below else None
            if below is not None and place is not None:
                best = min(filter(None, (best, ((place, *below[0]), below[1]))))
        return best

    def _place(self, role: Role, best: Place) -> Place | None:
        limit, guarantee = role.terms.limit, role.terms.guarantee
        if limit is not None and not limit.covers(role.held + BUNDLE):
            return None
        beyond = not (guarantee and guarantee.covers(role.held + BUNDLE))
        key = self.policy.role_key(role, best[2], BUNDLE, POOL)
        assert key is not None
        return (best[0], beyond, key, role.role_id)


@settings(max_examples=150, deadline=None)
@given(STEPS)
def test_who_is_next_is_what_a_scan_of_all_claims_finds(steps: list[tuple[object, ...]]) -> None:
    terms = {
        RoleId("acme"): RoleTerms(weight=2, limit=Resources(gpu_milli=3_000)),
        RoleId("bird"): RoleTerms(guarantee=Resources(gpu_milli=1_000)),
    }
    lines = Lines(Roles(terms))
    for step in steps:
        lines.step(*step)
        expected = lines.scanned()
        assert lines.kind.first() == expected
        assert lines.kind.someone_waits() == (expected is not None and not expected[0][0][0])


def kind_of(*claims: tuple[str, str, int]) -> tuple[Kind, Roles]:
    """Return a kind in whose line these stand: (desk, agent, key)."""
    kind, roles = Kind(KindKey(BUNDLE, BUNDLE, ANY_NODE, ()), search=BUNDLE), Roles()
    for desk, agent, key in claims:
        place = (False, False, (key,), desk)
        kind.put(DeskId(desk), place, roles.get(AgentId(agent)), FairShare(), POOL)
    return kind, roles


def next_desk(kind: Kind) -> str | None:
    found = kind.first()
    return found[1] if found else None


def test_the_tenant_with_less_is_served_first_whatever_its_agents_hold() -> None:
    kind, roles = kind_of(("a1", "acme/planner", 1), ("b1", "bird/planner", 9))
    roles.book(AgentId("acme/checker"), BUNDLE, 1)
    kind.moved(roles.get("acme/checker"), FairShare(), POOL)
    assert next_desk(kind) == "b1"


def test_a_desk_and_a_role_of_the_same_name_are_not_mistaken_for_each_other() -> None:
    kind, _ = kind_of(("planner", "acme", 5), ("x", "acme/planner", 5))
    assert {name for _, level in kind.queued() for name in level.places} == {
        "acme",
        "@planner",
        "acme/planner",
        "@x",
    }


def test_when_the_last_desk_leaves_nobody_stands_in_line() -> None:
    kind, roles = kind_of(("a1", "acme/planner", 1))
    kind.strike(DeskId("a1"), roles.get("acme/planner"), FairShare(), POOL)
    assert kind.first() is None
    assert not kind.someone_waits()
    assert list(kind.queued()) == []


def test_under_another_policy_all_are_put_in_order_anew() -> None:
    kind, roles = kind_of(("a1", "acme/planner", 1), ("b1", "bird/planner", 9))
    roles.book(AgentId("acme/planner"), BUNDLE, 1)
    kind.reordered(roles, FairShare(), POOL)
    assert next_desk(kind) == "b1"
    kind.reordered(roles, FirstCome(), POOL)
    assert next_desk(kind) == "a1"
