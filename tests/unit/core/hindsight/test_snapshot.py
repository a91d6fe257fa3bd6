"""A restored allocator does what the original does, whatever comes."""

import json
from functools import partial

import pytest

from coordsvc.core.allocator import Allocator
from coordsvc.core.errors import BadRequest
from coordsvc.core.hindsight.snapshot import capture, plain, restore, snapshot
from coordsvc.core.learning import LearnedUtilities
from coordsvc.core.messages import (
    DeskJoined,
    GangRefused,
    NodeJoined,
    Preempt,
    Refused,
    SendOffer,
    Ticked,
    Wanted,
)
from coordsvc.core.policies.catalogue import NAMES, make
from coordsvc.core.policies.utilities import PowerUtilities
from coordsvc.core.resources import Resources
from coordsvc.core.units import AgentId, DeskId, Epoch, Instant, NodeId
from tests.walks import Walk

EVENTS = 240
SNAPSHOT_EVERY = 11
GPU = Resources(gpu_milli=1_000)


def through_json(data: object) -> object:
    return json.loads(json.dumps(data, allow_nan=False))


def twins(allocator: Allocator, walk: Walk, make_policy=make) -> None:
    """Live on with a twin, which is made anew from time to time, and compare all that they say."""
    twin = restore(through_json(snapshot(allocator)), make_policy)
    for n in range(EVENTS):
        now, event = walk.next(allocator)
        assert allocator.handle(now, event) == twin.handle(now, event), (n, event)
        assert snapshot(twin) == snapshot(allocator), (n, event)
        twin.ledger.check()
        if n % SNAPSHOT_EVERY == 0:
            twin = restore(through_json(snapshot(allocator)), make_policy)
            assert snapshot(twin) == snapshot(allocator)
        assert twin.next_expiry() == allocator.next_expiry()


@pytest.mark.parametrize("policy", NAMES)
def test_a_restored_allocator_goes_on_as_the_original_does(policy: str) -> None:
    walk = Walk(NAMES.index(policy), policy)
    twins(walk.allocator(), walk)


@pytest.mark.parametrize("seed", range(100, 104))
def test_it_does_so_while_policies_are_changed(seed: int) -> None:
    walk = Walk(seed)
    twins(walk.allocator(), walk)


def test_it_does_so_with_utilities_that_are_learned() -> None:
    walk = Walk(7, "utility")
    learned = partial(make, utilities=LearnedUtilities(prior=PowerUtilities()))
    allocator = Allocator(Epoch("walk", 3), walk.terms, None, learned)
    twins(allocator, walk, learned)


def test_walks_come_past_what_is_hard() -> None:
    """Else the tests above would show little."""
    said: set[type] = set()
    for seed in range(8):
        walk = Walk(seed)
        for _, _, effects in walk.live(walk.allocator(), 300):
            said.update(type(effect) for effect in effects)
    assert said >= {SendOffer, Preempt, GangRefused, Refused}


def small() -> Allocator:
    allocator = Allocator(Epoch("run", 1))
    allocator.handle(Instant(0), NodeJoined(NodeId("n1"), GPU))
    allocator.handle(Instant(0), DeskJoined(DeskId("p1"), AgentId("planner"), GPU))
    allocator.handle(Instant(5), Wanted(DeskId("p1"), 2, 0))
    return allocator


def test_equal_states_give_equal_data_and_other_states_other_data() -> None:
    one, other = small(), small()
    assert snapshot(one) == snapshot(other)
    other.handle(Instant(5), Wanted(DeskId("p1"), 3, 0))
    assert snapshot(one) != snapshot(other)


def test_what_was_captured_stays_as_it_was() -> None:
    allocator = small()
    kept, then = capture(allocator), snapshot(allocator)
    allocator.handle(Instant(9), Wanted(DeskId("p1"), 5, 5))
    allocator.handle(Instant(99_000_000), Ticked())
    assert plain(kept) == then


def test_what_is_no_snapshot_is_refused() -> None:
    data = snapshot(small())
    with pytest.raises(BadRequest, match="Kept has no field strange"):
        restore({**data, "strange": 1})
    del data["epoch"]
    with pytest.raises(BadRequest, match="Kept lacks epoch"):
        restore(data)
