"""Which nodes a desk can use at all."""

from coordsvc.core.filters import ANY_NODE, Condition, NodeFilter
from coordsvc.core.resources import Resources
from tests.unit.core.stories import GPU, HALF, N1, N2, P1, P2, Story, offered, refusals

PLANS = NodeFilter.requiring({"adapters": "planner"})


def test_a_condition_holds_for_one_of_its_values() -> None:
    zone = Condition("zone", ("a", "b"))
    assert zone.holds({"zone": "b", "model": "small"})
    assert not zone.holds({"zone": "c"})
    assert not zone.holds({"model": "a"})


def test_a_value_of_several_words_has_each_of_them_and_itself() -> None:
    assert PLANS.suits({"adapters": "checker planner"})
    assert not PLANS.suits({"adapters": "planners"})
    assert NodeFilter.requiring({"name": "two words"}).suits({"name": "two words"})


def test_all_conditions_must_hold_and_those_that_do_not_are_named() -> None:
    where = NodeFilter.requiring({"zone": ("a", "b"), "model": "small"})
    assert where.names() == {"zone", "model"}
    assert where.suits({"zone": "a", "model": "small"})
    (failing,) = where.failing({"zone": "c", "model": "small"})
    assert str(failing) == "zone is a or b"


def test_any_node_suits_who_requires_nothing() -> None:
    assert ANY_NODE.suits({})
    assert ANY_NODE.failing({}) == ()


def test_the_same_requirements_are_the_same_filter_in_whatever_order() -> None:
    one = NodeFilter.requiring({"zone": "a", "model": "b"})
    assert one == NodeFilter.requiring({"model": ("b",), "zone": ("a",)})


# The allocator evaluates them


def test_a_node_that_does_not_suit_is_never_offered() -> None:
    story = Story()
    story.node(N1, GPU, adapters="checker")
    story.desk(P1, where=PLANS)
    assert story.want(P1, waiting=2) == []
    assert [offer.node for offer in offered(story.node(N2, HALF, adapters="x planner"))] == [N2]


def test_a_node_with_too_little_free_beside_is_not_offered() -> None:
    story = Story()
    story.node(N1, GPU)
    story.desk(P1, bundle=HALF, where=NodeFilter(free_at_least=GPU))
    assert len(story.want(P1, waiting=2)) == 1


def test_more_free_than_any_node_has_is_refused_at_once() -> None:
    story = Story()
    story.node(N1, GPU)
    (why,) = refusals(story.desk(P1, where=NodeFilter(free_at_least=GPU + HALF)))
    assert "the largest that fits any node is gpu=1000" in why


def test_who_asks_for_more_than_any_node_has_costs_nobody_what_they_hold_ahead() -> None:
    """It joined before there was a node; what is free on none helps it on none."""
    story = Story()
    story.desk(P1, where=NodeFilter(free_at_least=Resources(gpu_milli=5_000)))
    story.want(P1, waiting=9)
    story.desk(P2)
    story.node(N1, GPU)
    assert len(story.want(P2, ahead=2)) == 2
    assert story.want(P1, waiting=9) == []
    assert story.allocator.ledger.issued_count(P2) == 2


def test_a_filter_without_bound_is_refused() -> None:
    story = Story()
    many = NodeFilter.requiring({f"name{n}": "x" for n in range(17)})
    long = NodeFilter.requiring({"x" * 1_000: "x"})
    wide = NodeFilter.requiring({"zone": tuple(str(n) for n in range(17))})
    for where in (many, long, wide):
        (why,) = refusals(story.desk(P1, where=where))
        assert "may be" in why
    assert refusals(story.desk(P1, where=PLANS)) == []
