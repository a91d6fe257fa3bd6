"""The terms on which offers are made: which of them make sense, and how others are refused."""

from dataclasses import fields, replace

import pytest

from coordsvc.core.errors import ProtocolError
from coordsvc.core.messages import TermsChanged
from coordsvc.core.policies.catalogue import PolicyTerms
from coordsvc.core.roles import RoleTerms
from coordsvc.core.terms import Terms
from coordsvc.core.units import RoleId
from tests.unit.core.stories import N1, P1, Story, refusals

NUMBERS = [one.name for one in fields(Terms) if isinstance(getattr(Terms(), one.name), int)]


def weighing(weight: int) -> Terms:
    return Terms(roles={RoleId("acme"): RoleTerms(weight=weight)})


def test_the_usual_terms_make_sense() -> None:
    Terms().check()
    weighing(1_000).check()


@pytest.mark.parametrize("name", NUMBERS)
def test_a_bound_or_a_time_below_nothing_makes_none(name: str) -> None:
    with pytest.raises(ProtocolError, match=f"{name} is -1"):
        replace(Terms(), **{name: -1}).check()


@pytest.mark.parametrize("weight", [0, -1, 1_001])
def test_a_weight_that_nobody_can_share_by_makes_none(weight: int) -> None:
    with pytest.raises(ProtocolError, match="acme weighs"):
        weighing(weight).check()


@pytest.mark.parametrize(
    ("terms", "why"),
    [
        (weighing(0), "acme weighs 0"),
        (Terms(offers_per_desk_max=0), "offers_per_desk_max is 0"),
        (Terms(policy=PolicyTerms(name="luck")), "luck"),
    ],
)
def test_terms_that_cannot_be_are_refused_and_the_old_ones_stay(terms: Terms, why: str) -> None:
    story = Story()
    (said,) = refusals(story.tell(TermsChanged(terms)))
    assert why in said
    assert story.allocator.terms == Terms()


def test_other_terms_hold_from_then_on_and_take_nothing_away() -> None:
    story = Story()
    story.node(N1)
    story.desk(P1)
    held = story.want(P1, waiting=2)
    story.tell(TermsChanged(Terms(offers_per_desk_max=1, policy=PolicyTerms(name="first_come"))))
    assert story.allocator.ledger.issued_to(P1) == tuple(held)
    story.never_started(*held)
    assert story.allocator.terms.policy.name == "first_come"
