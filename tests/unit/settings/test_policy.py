"""Settings of the policy: what may be said, and what the core makes of it."""

from typing import Any

import pytest

from coordsvc.core.learning import LearnedUtilities
from coordsvc.core.policies.catalogue import NAMES, make
from coordsvc.core.policies.utilities import PowerUtilities
from coordsvc.core.policies.utility import Utility
from coordsvc.core.units import SECOND
from coordsvc.settings import SettingsError, check


def policy(**fields: Any) -> dict[str, Any]:
    return {"offers": {"policy": fields}}


@pytest.mark.parametrize("name", NAMES)
def test_every_policy_can_be_chosen(name: str) -> None:
    partition = {"planner": 1, "responder": 2, "checker": 1}
    terms = check(policy(name=name, partition=partition, plan=[[0, "planner"]])).terms().policy
    assert terms.name == name
    assert make(terms) is not None


def test_fair_sharing_is_the_default() -> None:
    assert check({}).terms().policy.name == "fair_share"


def test_utilities_are_set_by_hand_unless_learning_is_asked_for() -> None:
    by_hand = make(check(policy(name="utility", utility_weights={"planner": 2.0})).terms().policy)
    assert isinstance(by_hand, Utility)
    assert isinstance(by_hand.utilities, PowerUtilities)
    assert by_hand.utilities.weights == {"planner": 2.0}


def test_learning_begins_with_what_was_set_by_hand() -> None:
    said = policy(name="utility", utility_alpha=0.25, learning={"window_s": 2.5, "explore": 0.0})
    learned = make(check(said).terms().policy)
    assert isinstance(learned, Utility)
    assert isinstance(learned.utilities, LearnedUtilities)
    assert learned.utilities.terms.window_us == 2.5 * SECOND
    assert learned.utilities.terms.explore == 0
    assert learned.utilities.prior == PowerUtilities(alpha=0.25)


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (policy(name="whim"), "args.offers.policy.name: 'whim' is not right"),
        (policy(name="static_partition"), "args.offers.policy: static_partition needs a share"),
        (policy(utility_alpha=2.0), "args.offers.policy.utility_alpha: 2.0 is not right"),
        (policy(name="utility", utility_weights={"planner": -1.0}), "args.offers.policy: "),
        (
            policy(name="static_partition", partition={"plannr": 1}),
            "args: offers.policy.partition names 'plannr', which is no agent; there are checker, ",
        ),
        ({"node": {"reserved": {"judge": {"cpu": 1}}}}, "args: node.reserved names 'judge', "),
        (
            {"node": {"reserved": {"planner": {"cpu": 99}}}},
            "args: node.reserved (cpu=99000) is more than node.capacity (cpu=16000 ",
        ),
        (
            {"agents": {"planner": {"guarantee": {"cpu": 3}, "limit": {"cpu": 2}}}},
            "args: agents.planner.guarantee (cpu=3000) is more than its limit (cpu=2000)",
        ),
        (
            {"agents": {"planner": {"least": {"cpu": 3}}}},
            "args: agents.planner.least (cpu=3000) must be something, and within ",
        ),
        (
            {"agents": {"planner": {"limit": {"cpu": 0.5}}}},
            "args: agents.planner.limit (cpu=500) is less than one of its phases takes ",
        ),
        (
            policy(learning={"throughput_weight": 0.0, "deadline_weight": 0.0}),
            "args.offers.policy.learning: throughput_weight and deadline_weight are both 0",
        ),
    ],
    ids=str,
)
def test_what_cannot_be_is_refused_with_its_place(said: dict[str, Any], told: str) -> None:
    with pytest.raises(SettingsError) as refused:
        check(said)
    (fault,) = str(refused.value).splitlines()
    assert fault.startswith(told)
