"""Every event and effect, written as JSON and read again, is the same."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from enum import Enum
from math import inf, nan
from typing import Any, get_args

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from coordsvc.core.errors import BadRequest
from coordsvc.core.filters import Condition, NodeFilter
from coordsvc.core.hindsight.codec import FAMILIES, TYPE, Plain, codec, from_plain, to_plain
from coordsvc.core.messages import (
    Accepted,
    Effect,
    Event,
    NodeJoined,
    Reconciled,
    Refused,
    TermsChanged,
    Ticked,
    Wanted,
)
from coordsvc.core.offers import OfferState
from coordsvc.core.policies import Policy
from coordsvc.core.policies.catalogue import NAMES, PolicyTerms, make
from coordsvc.core.resources import Resources
from coordsvc.core.roles import RoleTerms
from coordsvc.core.terms import Terms
from coordsvc.core.units import AgentId, DeskId, Micros, NodeId, OfferId, RoleId

WORDS = st.text(max_size=4)
st.register_type_strategy(str, WORDS)
AMOUNTS = st.integers(0, 1 << 60)
st.register_type_strategy(Resources, st.builds(Resources, AMOUNTS, AMOUNTS, AMOUNTS))
st.register_type_strategy(float, st.floats(allow_nan=False))
st.register_type_strategy(
    Mapping,
    lambda thing: st.dictionaries(*map(st.from_type, get_args(thing)), max_size=2),
)
POLICY_TERMS = st.builds(
    PolicyTerms,
    name=WORDS,
    partition=st.dictionaries(WORDS, AMOUNTS, max_size=2),
    utility_alpha=st.floats(allow_nan=False),
)
ROLE_TERMS = st.builds(RoleTerms, weight=AMOUNTS, limit=st.none() | st.from_type(Resources))
st.register_type_strategy(
    Terms,
    st.builds(
        Terms,
        policy=POLICY_TERMS,
        roles=st.dictionaries(WORDS, ROLE_TERMS, max_size=2),
        offer_lasts_us=AMOUNTS,
    ),
)
EVENTS, EFFECTS = get_args(Event), get_args(Effect)


def through_json(data: Any) -> Any:
    return json.loads(json.dumps(data, allow_nan=False))


@pytest.mark.parametrize("kind", [*EVENTS, *EFFECTS], ids=lambda kind: kind.__name__)
def test_every_event_and_effect_comes_back_as_it_was(kind: type) -> None:
    union = Event if kind in EVENTS else Effect

    @settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.from_type(kind))
    def comes_back(value: Any) -> None:
        data = to_plain(value, union)
        assert data[TYPE] == kind.__name__
        assert from_plain(through_json(data), union) == value
        assert to_plain(from_plain(data, union), union) == data

    comes_back()


def test_no_event_or_effect_has_a_field_named_like_the_mark_of_its_class() -> None:
    assert not [kind for kind in (*EVENTS, *EFFECTS) for one in fields(kind) if one.name == TYPE]


@pytest.mark.parametrize("name", NAMES)
def test_every_policy_of_the_catalogue_comes_back(name: str) -> None:
    policy = make(PolicyTerms(name=name, partition={RoleId("a"): 1}, plan=((0, AgentId("a")),)))
    data = to_plain(policy, Policy)
    again = from_plain(through_json(data), Policy)
    assert type(again) is type(policy)
    assert vars(again) == vars(policy)


def test_every_policy_that_is_known_here_is_in_the_catalogue() -> None:
    told = {"partition": {RoleId("a"): 1}, "plan": ((0, AgentId("a")),)}
    made = {type(make(PolicyTerms(name=name, **told))) for name in NAMES}
    assert set(FAMILIES[Policy]) == made


# What it looks like


def test_what_is_at_its_default_is_not_said() -> None:
    assert to_plain(Ticked(), Event) == {"type": "Ticked"}
    assert to_plain(Accepted(OfferId(3), Resources(gpu_milli=5)), Event) == {
        "type": "Accepted",
        "offer_id": 3,
        "used": {"gpu_milli": 5},
    }


def test_whole_numbers_stay_whole_however_large() -> None:
    large = Accepted(OfferId(2**80 + 1), Resources(gpu_milli=2**70))
    assert from_plain(through_json(to_plain(large, Event)), Event) == large


def test_sets_and_names_are_sorted_so_that_equal_values_give_equal_text() -> None:
    one = NodeJoined(NodeId("n"), Resources(), {"b": "2", "a": "1"})
    other = NodeJoined(NodeId("n"), Resources(), {"a": "1", "b": "2"})
    assert json.dumps(to_plain(one, Event)) == json.dumps(to_plain(other, Event))
    told = Reconciled(NodeId("n"), frozenset(map(OfferId, (9, 1, 5))), ())
    assert to_plain(told, Event)["running"] == [1, 5, 9]


@dataclass(frozen=True)
class Odd:
    """What annotations may be, beside those of messages."""

    state: OfferState = OfferState.ISSUED
    number: float = 0.5
    order: dict[str, int] = field(default_factory=dict)
    counts: Mapping[int, str] = field(default_factory=dict)
    pair: tuple[int, str] = (0, "")
    some: int | None = 7
    whatever: Plain = Plain(None)


def test_a_dicts_order_is_part_of_it_and_a_mappings_is_not() -> None:
    there, back = Odd(order={"b": 1, "a": 2}), Odd(order={"a": 2, "b": 1})
    assert to_plain(there, Odd) != to_plain(back, Odd)
    assert list(from_plain(to_plain(there, Odd), Odd).order) == ["b", "a"]
    assert to_plain(Odd(counts={2: "x", 1: "y"}), Odd) == {"counts": [[1, "y"], [2, "x"]]}


@pytest.mark.parametrize("number", [inf, -inf, 1.5, 3])
def test_numbers_come_back_as_they_were(number: float) -> None:
    again = from_plain(through_json(to_plain(Odd(number=number), Odd)), Odd).number
    assert (again, type(again)) == (number, type(number))


def test_what_is_no_number_is_one_here() -> None:
    assert to_plain(nan, float) == "nan"
    assert from_plain("nan", float) != from_plain("nan", float)


def test_enums_go_by_name_and_plain_data_as_they_are() -> None:
    odd = Odd(state=OfferState.VOIDING, pair=(3, "x"), some=None, whatever=Plain([1, {"a": 2}]))
    data = to_plain(odd, Odd)
    assert data == {
        "state": "VOIDING",
        "pair": [3, "x"],
        "some": None,
        "whatever": [1, {"a": 2}],
    }
    assert from_plain(through_json(data), Odd) == odd


# What is refused


@pytest.mark.parametrize(
    ("data", "why"),
    [
        ({"type": "Sneezed"}, "type is 'Sneezed'; it is one of NodeJoined"),
        ({"offer_id": 1}, "type is None"),
        ([], r"\[\] is not an object"),
        ({"type": "Wanted", "desk": "p1", "waiting": 1}, "Wanted lacks ahead"),
        ({"type": "Ticked", "loudly": True}, "Ticked has no field loudly"),
        ({"type": "NodeLost", "node": 3}, "NodeLost.node: 3 is not a text"),
        ({"type": "Wanted", "desk": "p", "waiting": True, "ahead": 0}, "True is not a whole"),
        ({"type": "Wanted", "desk": "p", "waiting": 1.0, "ahead": 0}, "1.0 is not a whole"),
        (
            {"type": "Accepted", "offer_id": 1, "used": {"gpu_milli": -1}},
            "Accepted.used: Resources: negative amount",
        ),
        ({"type": "Held", "desk": "p", "offers": {}}, "Held.offers: {} is not a list"),
    ],
)
def test_data_that_are_no_event_are_refused_with_a_reason(data: Any, why: str) -> None:
    with pytest.raises(BadRequest, match=why):
        from_plain(data, Event)


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (Wanted(DeskId("p"), 1.5, 0), "Wanted.waiting: 1.5 is not a whole number"),
        (Accepted(OfferId(1), None), "Accepted.used: None is not a Resources"),
        (Refused(Ticked(), "x"), "is not one of NodeJoined"),
        (Reconciled(NodeId("n"), [], ()), "is not a frozenset"),
        (NodeJoined(NodeId("n"), Resources(), {"a": 1}), "1 is not a text"),
    ],
)
def test_a_value_that_is_not_as_annotated_is_refused(value: Any, why: str) -> None:
    with pytest.raises(BadRequest, match=why):
        to_plain(value, Event)


class Colour(Enum):
    RED = 1


@pytest.mark.parametrize("annotation", [object, Any, int | Colour])
def test_an_annotation_that_says_too_little_is_refused(annotation: Any) -> None:
    with pytest.raises(BadRequest, match="has no plain form"):
        codec(annotation)


def test_terms_of_every_shape_come_back() -> None:
    where = NodeFilter((Condition("a", ("x", "y")),), Resources(cpu_milli=3))
    assert from_plain(through_json(to_plain(where, NodeFilter)), NodeFilter) == where
    changed = TermsChanged.__dataclass_fields__["terms"].type
    terms = changed(policy=PolicyTerms(utility_alpha=inf), offer_lasts_us=Micros(1))
    assert from_plain(through_json(to_plain(terms, changed)), changed) == terms
