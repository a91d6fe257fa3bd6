"""A turn's spans: they add up to its account, lie within each other, and are called what they are.

The sums are taken as anybody would take them who has the trace alone: over all spans, by name.
"""

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.semconv._incubating.attributes import gen_ai_attributes
from opentelemetry.semconv.attributes import error_attributes
from opentelemetry.semconv.schemas import Schemas

from coordsvc.core import semconv, turn_spans
from coordsvc.core.accounting import (
    PARTS,
    OfferTaken,
    PhaseReport,
    PhaseSpan,
    TurnAccount,
    TurnResult,
    close,
)
from coordsvc.core.dialogue import WORKER, Phase, ReplyMode, Run, TurnRequest, Verdict
from coordsvc.core.generation import Message
from coordsvc.core.spans import CheckTold, Named, PhaseBroken, Span, TurnTold
from coordsvc.core.trace import TraceContext
from coordsvc.core.units import MILLISECOND, SECOND, Instant, Micros, NodeId, OfferId

CONTEXT = TraceContext(0xABC, 0x123, 0x77)
NAMED = Named(model="tiny", engine_model="Tiny-1B", engine="openvino")
NODE = NodeId("n1")
SECRET = "My bank is on fire."
PLAN, RESPOND, CHECK = Phase.PLAN, Phase.RESPOND, Phase.CHECK


def ms(amount: float) -> Micros:
    return Micros(round(amount * MILLISECOND))


def report(phase: Phase = PLAN, **changes: Any) -> PhaseReport:
    """80 ms at the agent: 10 waiting, 60 on the engine's line, of which 50 are the engine's."""
    usual: dict[str, Any] = {
        "agent_us": ms(80),
        "offer_wait_us": ms(10),
        "engine_call_us": ms(60),
        "queue_us": ms(20),
        "compute_us": ms(30),
        "solo_us": ms(15),
        "refill_us": ms(5),
        "prompt_tokens": 40,
        "cached_tokens": 25,
        "output_tokens": 4,
    }
    return PhaseReport(phase=phase, agent=WORKER[phase], node=NODE, **(usual | changes))


def phase(started: int, ended: int, phase: Phase = PLAN, **changes: Any) -> PhaseSpan:
    wanted = {"retry_us", "predecessors", "finish"} & set(changes)
    return PhaseSpan(
        report=report(phase, **{name: changes[name] for name in set(changes) - wanted}),
        started=Instant(ms(started)),
        ended=Instant(ms(ended)),
        **{name: changes[name] for name in wanted},
    )


def result(account: TurnAccount) -> TurnResult:
    return TurnResult(
        text=SECRET,
        finish="length",
        prompt_tokens=80,
        output_tokens=8,
        reply_tokens=4,
        verdict=Verdict(accept=True, score=9, reason=SECRET),
        gave_up=False,
        account=account,
    )


def asked() -> TurnRequest:
    return TurnRequest(
        turn_id="t1", conversation=(Message("user", SECRET),), max_tokens=20, trace=CONTEXT
    )


def answered(
    *phases: PhaseSpan, wall_us: Micros, ingress_us: Micros = Micros(0), **changes: Any
) -> TurnTold:
    account = close(phases, wall_us=wall_us, ingress_us=ingress_us, reply=len(phases) - 1)
    return TurnTold(
        context=CONTEXT,
        turn_id="t1",
        arrived=Instant(0),
        ended=Instant(wall_us),
        request=asked(),
        spans=phases,
        result=result(account),
        **changes,
    )


def told(turn: TurnTold, named: Named = NAMED) -> list[Span]:
    return list(turn_spans.turn_spans(turn, named))


def summed(trace: list[Span]) -> Counter[str]:
    """Return the microseconds of each attribute in seconds, over the whole trace."""
    found: Counter[str] = Counter()
    for span in trace:
        for name, value in span.attributes.items():
            if name.endswith("_s") and isinstance(value, float):
                found[name] += round(value * SECOND)
    return found


# It adds up

SHORT = st.integers(min_value=0, max_value=3 * SECOND)
DURATIONS = (
    *("agent_us", "offer_wait_us", "engine_call_us", "retry_us"),
    *("queue_us", "compute_us", "solo_us", "refill_us"),
)


@st.composite
def phases(draw: st.DrawFn, number: int) -> PhaseSpan:
    """Any phase, also one whose clocks disagree: durations are whatever each machine told."""
    started = draw(st.integers(min_value=0, max_value=20 * SECOND))
    taken, waited = draw(SHORT), draw(SHORT)
    offer = OfferTaken(
        node=NODE,
        epoch=1,
        offer_id=OfferId(7),
        use=1,
        wait_us=Micros(waited),
        taken_us=Micros(taken),
        ended_us=Micros(taken + draw(SHORT)),
    )
    durations = {name: draw(SHORT) for name in DURATIONS}
    return PhaseSpan(
        report=report(
            draw(st.sampled_from(list(Phase))),
            offers=draw(st.sampled_from([(), (offer,)])),
            **durations,
        ),
        started=Instant(started),
        ended=Instant(started + draw(SHORT)),
        retry_us=Micros(draw(SHORT)),
        predecessors=tuple(draw(st.sets(st.integers(0, number - 1), max_size=2))) if number else (),
    )


@st.composite
def turns(draw: st.DrawFn) -> TurnTold:
    several = [draw(phases(number)) for number in range(draw(st.integers(1, 5)))]
    wall, ingress = Micros(draw(SHORT) * 7), Micros(draw(SHORT))
    return answered(*several, wall_us=wall, ingress_us=ingress)


@given(turns())
def test_a_trace_adds_up_to_its_turn_s_account(turn: TurnTold) -> None:
    assert turn.result is not None
    account, trace = turn.result.account, told(turn)
    found = summed(trace)
    for part in PARTS:
        assert found[f"coordsvc.part.{part}_s"] == account.parts[part]
    assert found["coordsvc.solo_s"] == account.solo_us
    parts = sum(us for name, us in found.items() if name.startswith("coordsvc.part."))
    assert parts == account.c_coord_us
    assert parts + found["coordsvc.solo_s"] == trace[0].ended - trace[0].started


@given(turns())
def test_whatever_clocks_say_an_engine_lies_within_its_phase(turn: TurnTold) -> None:
    by_id = {span.span_id: span for span in told(turn)}
    assert len(by_id) == 1 + 2 * len(turn.spans)
    for span in by_id.values():
        assert span.started <= span.ended
        if span.name.startswith("chat "):
            above = by_id[span.parent_id or 0]
            assert above.started <= span.started <= span.ended <= above.ended
        assert all(span.started <= event.at <= span.ended for event in span.events)


def test_a_trace_reckoned_by_hand() -> None:
    """100 ms of call and 80 of agent: it arrives after 10, waits 10, calls 60, of them 50 run."""
    turn = answered(phase(5, 105), wall_us=ms(110), ingress_us=ms(5))
    root, agent, engine = told(turn)
    assert (root.started, root.ended) == (0, ms(110))
    assert (agent.started, agent.ended) == (ms(5), ms(105))
    assert (engine.started, engine.ended) == (ms(5 + 10 + 10 + 5), ms(5 + 10 + 10 + 5 + 50))
    assert {name: value for name, value in agent.attributes.items() if "coordsvc.part" in name} == {
        "coordsvc.part.offer_wait_s": 0.01,
        "coordsvc.part.call_s": 0.03,
        "coordsvc.part.agent_s": 0.01,
    }
    assert {name: engine.attributes[name] for name in engine.attributes if "_s" in name[-2:]} == {
        "coordsvc.engine.compute_s": 0.03,
        "coordsvc.part.engine_queue_s": 0.02,
        "coordsvc.part.contention_s": 0.01,
        "coordsvc.part.refill_s": 0.005,
        "coordsvc.solo_s": 0.015,
    }
    assert root.attributes["coordsvc.part.ingress_s"] == 0.005
    assert root.attributes["coordsvc.part.unexplained_s"] == 0.005
    assert root.attributes["coordsvc.turn.c_coord_s"] == pytest.approx(0.095)


def test_what_the_reply_did_not_wait_for_is_in_no_sum() -> None:
    beside = phase(0, 50, RESPOND)
    turn = answered(phase(0, 90), beside, phase(90, 190, predecessors=(0, 1)), wall_us=ms(190))
    assert turn.result is not None
    trace = told(turn)
    assert summed(trace)["coordsvc.solo_s"] == turn.result.account.solo_us == ms(30)
    aside = [span for span in trace if any(".beside." in name for name in span.attributes)]
    assert [span.name for span in aside] == ["invoke_agent responder", "chat Tiny-1B"]
    assert aside[1].attributes["coordsvc.beside.solo_s"] == 0.015


# What hangs from what


def test_phases_hang_from_the_turn_and_engines_from_phases() -> None:
    plan, respond = phase(0, 100), phase(100, 200, RESPOND, predecessors=(0,))
    root, *rest = told(answered(plan, respond, wall_us=ms(200)))
    assert (root.name, root.kind) == ("invoke_workflow coordsvc", "server")
    assert (root.span_id, root.parent_id) == (CONTEXT.span_id, CONTEXT.parent_id)
    named = [span.name for span in rest]
    assert named[::2] == ["invoke_agent planner", "invoke_agent responder"]
    assert named[1::2] == ["chat Tiny-1B"] * 2
    assert [rest[0].parent_id, rest[2].parent_id] == [root.span_id] * 2
    assert [rest[1].parent_id, rest[3].parent_id] == [rest[0].span_id, rest[2].span_id]


def test_a_check_after_the_reply_hangs_from_the_turn_and_points_at_the_reply() -> None:
    reply = told(answered(phase(0, 100), phase(100, 200, RESPOND), wall_us=ms(200)))[3]
    check = CheckTold(context=CONTEXT, number=2, span=phase(210, 310, CHECK))
    agent, engine = turn_spans.check_spans(check, NAMED)
    assert (agent.name, agent.parent_id) == ("invoke_agent checker", CONTEXT.span_id)
    assert reply.name == "invoke_agent responder"
    assert agent.links == (reply.span_id,)
    assert engine.parent_id == agent.span_id
    assert not any(name.startswith("coordsvc.part") for name in agent.attributes)
    assert agent.attributes["coordsvc.beside.offer_wait_s"] == 0.01


# What happened on the way


def test_offers_and_losses_are_events_at_their_instants() -> None:
    """10 ms of call before, then: an offer after 5, lost at 25; another at 30."""
    first = OfferTaken(
        node=NODE, epoch=3, offer_id=OfferId(7), use=1, wait_us=ms(5), taken_us=ms(5),
        ended_us=ms(25), lost="no_room",
    )  # fmt: skip
    second = replace(
        first, offer_id=OfferId(9), use=2, taken_us=ms(30), ended_us=ms(90), lost="", wait_us=ms(5)
    )
    span = phase(0, 150, offers=(first, second), retry_us=ms(20), agent_us=ms(110), attempts=2)
    _, agent, engine = told(answered(span, wall_us=ms(150)))
    assert [(event.name, event.at) for event in agent.events] == [
        ("coordsvc.agent.lost", ms(20)),
        ("coordsvc.offer.taken", ms(30 + 5)),
        ("coordsvc.attempt.lost", ms(30 + 25)),
        ("coordsvc.offer.taken", ms(30 + 30)),
    ]
    lost = agent.events[2].attributes
    assert (lost["error.type"], lost["coordsvc.lost_s"], lost["coordsvc.offer.id"]) == (
        "no_room",
        0.02,
        7,
    )
    assert agent.events[3].attributes == {
        "coordsvc.offer.epoch": 3,
        "coordsvc.offer.id": 9,
        "coordsvc.offer.use": 2,
        "coordsvc.offer.wait_s": 0.005,
        "coordsvc.attempt": 2,
        "coordsvc.node": "n1",
    }
    assert engine.started == ms(30 + 30 + 5), "where the last offer was taken"
    assert (engine.events[0].name, engine.events[0].at) == ("coordsvc.engine.started", ms(65 + 20))


def test_a_failed_turn_says_how_and_where() -> None:
    run = Run(RESPOND, WORKER[RESPOND])
    broken = PhaseBroken(run=run, started=Instant(ms(100)), ended=Instant(ms(250)))
    turn = TurnTold(
        context=CONTEXT,
        turn_id="t1",
        arrived=Instant(0),
        ended=Instant(ms(250)),
        request=asked(),
        spans=(phase(0, 100),),
        broken=broken,
        error="DeadlinePassed",
    )
    root, agent, engine, last = told(turn)
    assert [span.failed for span in (root, agent, engine, last)] == [True, False, False, True]
    assert root.attributes["error.type"] == last.attributes["error.type"] == "DeadlinePassed"
    assert (last.name, last.started, last.ended) == ("invoke_agent responder", ms(100), ms(250))
    assert len({span.span_id for span in (root, agent, engine, last)}) == 4


def test_a_failed_check_says_so_and_leaves_its_turn_alone() -> None:
    run = Run(CHECK, WORKER[CHECK])
    broken = PhaseBroken(run=run, started=Instant(5), ended=Instant(9))
    (span,) = turn_spans.check_spans(
        CheckTold(context=CONTEXT, number=2, broken=broken, error="AgentGone"), NAMED
    )
    assert (span.failed, span.attributes["error.type"]) == (True, "AgentGone")


def test_a_request_that_became_no_turn_is_one_span() -> None:
    turn = TurnTold(
        context=CONTEXT, turn_id="t1", arrived=Instant(9), ended=Instant(3), error="busy"
    )
    (root,) = told(turn)
    assert (root.failed, root.started, root.ended) == (True, 9, 9)


# What is said, and what is not


def test_nothing_that_anybody_said_is_repeated_unless_it_is_asked_for() -> None:
    turn = answered(phase(0, 100), wall_us=ms(100))
    assert SECRET not in repr(told(turn))
    assert "messages" not in repr(told(turn))
    root = told(turn, replace(NAMED, text_chars_max=7))[0]
    (question,) = json.loads(str(root.attributes["gen_ai.input.messages"]))
    (reply,) = json.loads(str(root.attributes["gen_ai.output.messages"]))
    assert question == {"role": "user", "parts": [{"type": "text", "content": "My bank"}]}
    assert reply == {
        "role": "assistant",
        "parts": [{"type": "text", "content": "My bank"}],
        "finish_reason": "length",
    }


def test_spans_carry_the_genai_attributes() -> None:
    span = phase(0, 100, finish="length")
    root, agent, engine = told(answered(span, wall_us=ms(100)))
    assert root.attributes["gen_ai.operation.name"] == "invoke_workflow"
    assert root.attributes["gen_ai.request.max_tokens"] == 20
    assert root.attributes["coordsvc.turn.mode"] == ReplyMode.CHECK_THEN_SEND.value
    genai = {name: agent.attributes[name] for name in agent.attributes if "gen_ai" in name}
    assert genai == {
        "gen_ai.operation.name": "invoke_agent",
        "gen_ai.provider.name": "coordsvc",
        "gen_ai.agent.name": "planner",
        "gen_ai.request.model": "tiny",
        "gen_ai.usage.input_tokens": 40,
        "gen_ai.usage.output_tokens": 4,
        "gen_ai.response.finish_reasons": ("length",),
    }
    assert engine.attributes["gen_ai.provider.name"] == "openvino"
    assert engine.attributes["gen_ai.response.model"] == "Tiny-1B"
    assert engine.attributes["gen_ai.usage.cache_read.input_tokens"] == 25


def test_names_are_those_of_the_pinned_conventions() -> None:
    known = {
        value
        for module in (gen_ai_attributes, error_attributes)
        for name, value in vars(module).items()
        if name.isupper() and isinstance(value, str)
    }
    ours = {
        value
        for name, value in vars(semconv).items()
        if name.isupper() and name not in {"SEMCONV", "SCHEMA_URL"}
    }
    assert "gen_ai.operation.name" in ours
    assert ours <= known
    said = answered(phase(0, 100), wall_us=ms(100), error="busy")
    used = {
        name
        for span in told(said, replace(NAMED, text_chars_max=9))
        for name in span.attributes
        if not name.startswith("coordsvc.")
    }
    assert used <= ours
    assert semconv.SCHEMA_URL in {one.value for one in Schemas}


def test_operations_are_those_of_the_conventions() -> None:
    known = {one.value for one in gen_ai_attributes.GenAiOperationNameValues}
    trace = told(answered(phase(0, 100), wall_us=ms(100)))
    assert {span.attributes["gen_ai.operation.name"] for span in trace} <= known


def test_the_guide_names_every_attribute_and_event() -> None:
    guide = (Path(__file__).parents[3] / "docs/guides/traces.md").read_text()
    offer = OfferTaken(
        node=NODE, epoch=1, offer_id=OfferId(1), use=1, wait_us=ms(1), taken_us=ms(1),
        ended_us=ms(2), lost="no_room",
    )  # fmt: skip
    turn = answered(phase(0, 100, offers=(offer,), retry_us=ms(1)), wall_us=ms(100), error="busy")
    beside = CheckTold(context=CONTEXT, number=1, span=phase(110, 210, CHECK))
    named = replace(NAMED, text_chars_max=9)
    used = {semconv.SEMCONV}
    for span in (*told(turn, named), *turn_spans.check_spans(beside, named)):
        used |= {*span.attributes, *(event.name for event in span.events)}
        used |= {name for event in span.events for name in event.attributes}
    by_part = {name for name in used if name.startswith(("coordsvc.part.", "coordsvc.beside."))}
    every = {"gen_ai.operation.name"}  # the first word of a span's name
    assert {name for name in used - by_part - every if name not in guide} == set()
