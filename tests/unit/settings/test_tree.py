"""The tree of settings: what it hands to the core, in the core's words."""

from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from coordsvc.core.dialogue import CHECKER, PLANNER, RESPONDER, Rules
from coordsvc.core.resources import Resources
from coordsvc.core.terms import DeskTerms, Terms
from coordsvc.core.units import MILLISECOND, SECOND, AgentId
from coordsvc.engines.settings import (
    EmulatedSettings,
    OpenVinoSettings,
    ScriptedSettings,
    TransformersSettings,
    VllmSettings,
)
from coordsvc.settings import AppSettings, SettingsError, check
from coordsvc.settings.bundle import Bundle


def test_amounts_become_whole_thousandths() -> None:
    bundle = Bundle(gpu=0.016, cpu=2, bandwidth_gbps=1.5)
    assert bundle.resources() == Resources(gpu_milli=16, cpu_milli=2_000, bandwidth_mbps=1_500)
    assert Bundle().resources() == Resources()


def test_three_agents_take_part_unless_the_checker_is_left_out() -> None:
    assert list(AppSettings().agents.by_id()) == [PLANNER, RESPONDER, CHECKER]
    assert AppSettings().rules() == Rules(agents=(PLANNER, RESPONDER, CHECKER), revisions_max=1)
    two = check({"agents": {"checker": None}, "dialogue": {"revisions_max": 0}})
    assert two.rules() == Rules(agents=(PLANNER, RESPONDER), revisions_max=0)


def test_the_allocator_s_terms() -> None:
    settings = check(
        {
            "offers": {"lasts_s": 2.5, "margin_s": 0.25},
            "agents": {"responder": {"weight": 3}, "checker": None},
        }
    )
    terms = settings.terms()
    assert (terms.offer_lasts_us, terms.offer_margin_us) == (2_500_000, 250_000)
    assert {role: one.weight for role, one in terms.roles.items()} == {PLANNER: 1, RESPONDER: 3}


def test_the_desks_terms() -> None:
    told = {
        "ahead_min": 2,
        "ahead_max": 9,
        "suppress_after_s": 7,
        "linger_ms": 300,
        "linger_low_ms": 20,
        "silent_after_ms": 150,
    }
    assert check({"offers": told}).offers.desk_terms() == DeskTerms(
        ahead_min=2,
        ahead_max=9,
        suppress_after_us=7 * SECOND,
        linger_us=300 * MILLISECOND,
        linger_low_us=20 * MILLISECOND,
        silent_after_us=150 * MILLISECOND,
    )


def test_the_defaults_are_the_core_s_own() -> None:
    settings = AppSettings()
    terms = settings.terms()
    assert settings.offers.desk_terms() == DeskTerms()
    assert (terms.offer_lasts_us, terms.offer_margin_us) == (
        Terms().offer_lasts_us,
        Terms().offer_margin_us,
    )


@pytest.mark.parametrize("agent", [PLANNER, RESPONDER, CHECKER])
def test_by_default_every_batch_slot_can_hold_a_phase_of_anybody(agent: AgentId) -> None:
    settings = AppSettings()
    assert isinstance(settings.engine, OpenVinoSettings)
    demand = settings.agents.by_id()[agent].demand.resources()
    assert settings.node.capacity.resources().times_held(demand) == settings.engine.batch_max


@pytest.mark.parametrize(
    "kind",
    [OpenVinoSettings, TransformersSettings, VllmSettings, EmulatedSettings, ScriptedSettings],
)
def test_every_kind_of_engine_is_chosen_by_its_name(kind: type[Any]) -> None:
    name = kind.model_fields["kind"].default
    assert check({"engine": {"kind": name}}).engine == kind()


def nodes(settings: BaseModel) -> Iterator[BaseModel]:
    yield settings
    for name in type(settings).model_fields:
        if isinstance(inside := getattr(settings, name), BaseModel):
            yield from nodes(inside)


def test_settings_do_not_change() -> None:
    for node in nodes(AppSettings()):
        name = next(iter(type(node).model_fields))
        with pytest.raises(ValidationError, match="frozen"):
            setattr(node, name, getattr(node, name))


def test_every_node_is_strict_and_refuses_what_it_does_not_know() -> None:
    engines = [OpenVinoSettings, TransformersSettings, VllmSettings, EmulatedSettings]
    for node in [*nodes(AppSettings()), *(kind() for kind in engines), ScriptedSettings()]:
        config = type(node).model_config
        assert (config["extra"], config["strict"]) == ("forbid", True), type(node)
        assert config["allow_inf_nan"] is False, type(node)


def test_an_agent_with_an_adapter_speaks_through_it_and_the_base_for_the_others() -> None:
    engine = {"kind": "transformers", "adapters": {"planner": "/a", "checker": "/b"}}
    rules = check({"engine": engine}).rules()
    assert [rules.adapter(agent) for agent in rules.agents] == [PLANNER, "", CHECKER]
    assert not AppSettings().rules().adapted


def test_an_adapter_for_nobody_is_an_error() -> None:
    engine = {"kind": "vllm", "adapters": {"planer": "/a"}}
    with pytest.raises(
        SettingsError, match=r"names 'planer', which is no agent; there are checker"
    ):
        check({"engine": engine})
    with pytest.raises(SettingsError, match=r"'checker', which is no agent; there are planner"):
        check({"engine": engine | {"adapters": {"checker": "/a"}}, "agents": {"checker": None}})
