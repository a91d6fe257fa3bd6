"""Who shares the pool: tenants above agents, with weights, guarantees and limits."""

from coordsvc.core.resources import Resources
from coordsvc.core.roles import ROOT, Roles, RoleTerms
from coordsvc.core.terms import Terms
from coordsvc.core.units import AgentId, DeskId, RoleId
from tests.unit.core.stories import GPU, HALF, N1, P1, P2, QUARTER, Story, offered, refusals

ACME, PLANNER, CHECKER = RoleId("acme"), AgentId("acme/planner"), AgentId("acme/checker")


def roles(**terms: RoleTerms) -> Roles:
    return Roles({RoleId(name.replace("__", "/")): each for name, each in terms.items()})


def ids(tree: Roles, agent: str) -> list[str]:
    return [role.role_id for role in tree.get(AgentId(agent)).way_up()]


def test_an_agents_id_is_its_path() -> None:
    assert ids(roles(), "acme/planner") == ["acme/planner", "acme"]
    assert ids(roles(), "planner") == ["planner"]


def test_the_root_stands_above_all_and_is_on_nobodys_way() -> None:
    tree = roles()
    assert tree.get(ROOT) is tree.root
    assert tree.get(AgentId("planner")).parent is tree.root
    assert list(tree.root.way_up()) == []
    assert [tree.get(one).depth for one in (ROOT, ACME, PLANNER)] == [0, 1, 2]


def test_what_a_role_holds_includes_what_all_below_it_hold() -> None:
    tree = roles()
    tree.book(PLANNER, HALF, 1)
    tree.book(CHECKER, QUARTER, 1)
    tree.unbook(PLANNER, QUARTER, 0)
    assert (tree.get(ACME).held, tree.get(ACME).bundles) == (HALF, 2)
    assert tree.root.held == HALF
    assert tree.get(PLANNER).held == QUARTER


def test_a_guarantee_above_covers_an_agent_too() -> None:
    tree = roles(acme=RoleTerms(guarantee=HALF))
    assert tree.get(PLANNER).within_guarantee(HALF)
    tree.book(CHECKER, QUARTER, 1)
    assert not tree.get(PLANNER).within_guarantee(HALF)
    assert tree.get(PLANNER).within_guarantee(QUARTER)
    assert not tree.get(AgentId("other")).within_guarantee(QUARTER)


def test_a_role_cannot_spare_what_its_guarantee_covers() -> None:
    tree = roles(acme=RoleTerms(guarantee=HALF))
    tree.book(PLANNER, GPU, 2)
    assert tree.get(PLANNER).can_spare(HALF)
    assert not tree.get(PLANNER).can_spare(HALF + QUARTER)


def test_a_limit_anywhere_on_the_way_up_counts() -> None:
    tree = roles(acme=RoleTerms(limit=HALF), acme__planner=RoleTerms(limit=GPU))
    assert tree.get(PLANNER).within_limits(HALF)
    assert not tree.get(PLANNER).within_limits(GPU)
    tree.book(CHECKER, QUARTER, 1)
    assert not tree.get(PLANNER).within_limits(HALF)


def test_nested_guarantees_count_once_at_the_top() -> None:
    tree = roles(acme=RoleTerms(guarantee=GPU), acme__planner=RoleTerms(guarantee=HALF))
    assert (tree.guaranteed(), tree.unmet) == (GPU, GPU)
    tree.book(PLANNER, QUARTER, 1)
    assert tree.unmet == HALF + QUARTER


def test_what_is_guaranteed_is_unmet_before_anybody_has_come() -> None:
    assert roles(acme=RoleTerms(guarantee=GPU)).unmet == GPU


def test_a_guarantee_that_is_more_than_met_leaves_nothing_unmet() -> None:
    tree = roles(acme=RoleTerms(guarantee=HALF))
    tree.book(PLANNER, GPU, 1)
    assert tree.unmet == Resources()


def test_other_terms_change_weights_and_guarantees_but_not_what_is_held() -> None:
    tree = roles(acme=RoleTerms(weight=2, guarantee=HALF))
    tree.book(PLANNER, QUARTER, 1)
    tree.change({PLANNER: RoleTerms(weight=3, guarantee=GPU)})
    assert (tree.get(ACME).weight, tree.get(PLANNER).weight) == (1, 3)
    assert tree.get(PLANNER).held == QUARTER
    assert tree.unmet == HALF + QUARTER


def test_roles_that_are_gone_are_forgotten_and_no_others() -> None:
    tree = roles(named=RoleTerms(weight=2))
    for agent in ("gone/a", "gone/b", "acme/planner", "other/checker"):
        tree.get(AgentId(agent))
    tree.book(AgentId("other/checker"), HALF, 1)
    tree.forget_all_but([PLANNER])
    assert sorted(tree.known) == ["", "acme", "acme/planner", "named", "other", "other/checker"]


# A tree, told through the allocator


def test_tenants_share_first_and_then_the_agents_of_each() -> None:
    """One tenant with two agents gets no more than one with one."""
    story = Story()
    for desk, agent in (("a1", "acme/planner"), ("a2", "acme/checker"), ("b1", "beta/planner")):
        story.desk(DeskId(desk), AgentId(agent), QUARTER)
        story.want(DeskId(desk), waiting=4)
    agents = [offer.agent for offer in offered(story.node(N1, GPU))]
    assert sorted(agents) == ["acme/checker", "acme/planner", "beta/planner", "beta/planner"]


def test_a_limit_holds_whatever_is_free() -> None:
    story = Story(Terms(roles={ACME: RoleTerms(limit=HALF)}))
    story.node(N1, GPU)
    for desk, agent in ((P1, PLANNER), (P2, CHECKER)):
        story.desk(desk, agent, QUARTER)
    assert len(story.want(P1, waiting=3)) == 2
    assert story.want(P2, waiting=3) == []


def test_an_agents_path_is_bounded() -> None:
    story = Story()
    for path in ("a/" * 5_000 + "a", "", "/a", "a//b", "x" * 1_000_000):
        (why,) = refusals(story.desk(P1, AgentId(path)))
        assert "may be" in why
    assert story.allocator.desks == {}
    assert len(story.allocator.ledger.roles.known) == 1
