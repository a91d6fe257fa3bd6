"""What each agent asks the model, and how a checker's answer is read."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordsvc.agents.roles import (
    REPEATED_CHARS_MAX,
    ROLES,
    UNREADABLE,
    VERDICT_SCHEMA,
    Budget,
    read_verdict,
    shared,
)
from coordsvc.core.dialogue import (
    CHECKER,
    PLANNER,
    RESPONDER,
    WORKER,
    Phase,
    PhaseWork,
    Run,
    Verdict,
)
from coordsvc.core.generation import GenerationRequest, Message, Sampling
from coordsvc.core.units import SECOND, Micros

QUESTION = Message("user", "How are you?")
TALK = (Message("user", "Hello."), Message("assistant", "Hello!"), QUESTION)
SAMPLING = Sampling(temperature=0.7, top_p=0.9, seed=101, stop=("\n\n",))
OBJECTION = Verdict(accept=False, score=3, reason="It is too gloomy.")
BUDGET = Budget(plan_tokens=11, check_tokens=13)


def ask(
    phase: Phase, conversation: tuple[Message, ...] = TALK, **changes: object
) -> GenerationRequest:
    run = Run(phase, WORKER[phase], plan="Be kind.", draft="All is lost.", verdict=OBJECTION)
    usual = {
        "turn_id": "t1",
        "run": run,
        "conversation": conversation,
        "max_tokens": 20,
        "sampling": SAMPLING,
        "stream": False,
        "left_us": Micros(SECOND),
    }
    return ROLES[WORKER[phase]].ask(PhaseWork(**(usual | changes)), BUDGET)


def instruction(request: GenerationRequest) -> str:
    said = request.messages[request.shared_messages]
    assert said.speaker == "system"
    return said.text


# Prompts


@pytest.mark.parametrize(
    "conversation",
    [TALK, (Message("system", "Speak as a pirate."), *TALK)],
    ids=["plain", "system"],
)
def test_all_agents_begin_alike_so_that_prefix_caches_hit(
    conversation: tuple[Message, ...],
) -> None:
    asked = [ask(phase, conversation) for phase in Phase]
    beginnings = {request.messages[: request.shared_messages] for request in asked}
    assert beginnings == {shared(conversation)}
    assert all(len(request.messages) > request.shared_messages for request in asked)


def test_the_user_s_system_message_is_kept_behind_the_house_s() -> None:
    first, *rest = shared((Message("system", "Speak as a pirate."), *TALK))
    assert first.speaker == "system"
    assert first.text.endswith("\n\nSpeak as a pirate.")
    assert tuple(rest) == TALK


def test_each_agent_is_told_what_it_needs_and_no_more() -> None:
    assert "Be kind." in instruction(ask(Phase.RESPOND))
    assert "All is lost." not in instruction(ask(Phase.RESPOND))
    assert "All is lost." in instruction(ask(Phase.CHECK))
    assert "All is lost." in instruction(ask(Phase.REVISE))
    assert "It is too gloomy." in instruction(ask(Phase.REVISE))


def test_a_short_question_is_said_again_at_the_very_end_but_not_to_the_checker() -> None:
    assert [ask(phase).messages[-1] == QUESTION for phase in Phase] == [
        phase is not Phase.CHECK for phase in Phase
    ]
    long = Message("user", "x" * (REPEATED_CHARS_MAX + 1))
    assert ask(Phase.RESPOND, (long,)).messages[-1] != long


def test_the_user_s_limits_hold_for_the_reply_and_the_house_s_for_the_rest() -> None:
    assert [ask(phase).max_new_tokens for phase in Phase] == [11, 20, 13, 20]
    assert ask(Phase.PLAN).headroom_tokens == 2 * 20 + 13
    assert [ask(phase).sampling.stop for phase in Phase] == [(), ("\n\n",), (), ("\n\n",)]
    assert {ask(phase).sampling.seed for phase in Phase} == {101}


def test_only_the_checker_answers_in_json() -> None:
    assert [ask(phase).json_schema for phase in Phase] == [None, None, VERDICT_SCHEMA, None]


@pytest.mark.parametrize("phase", list(Phase))
def test_what_was_sent_and_what_is_cached_travel_with_the_request(phase: Phase) -> None:
    request = ask(phase, prefix="All is ", warm_tokens=17, adapter=PLANNER)
    assert (request.prefix, request.warm_tokens) == ("All is ", 17)
    assert request.adapter == PLANNER


def test_only_the_checker_reads_a_verdict() -> None:
    said = '{"accept": true, "score": 9, "reason": ""}'
    assert ROLES[PLANNER].read(said) is None
    assert ROLES[RESPONDER].read(said) is None
    assert ROLES[CHECKER].read(said) == Verdict(accept=True, score=9, reason="")


# Verdicts


@pytest.mark.parametrize(
    ("said", "verdict"),
    [
        (
            '{"accept": false, "score": 2, "reason": "wrong"}',
            Verdict(accept=False, score=2, reason="wrong"),
        ),
        ('{"accept": true, "score": 99}', Verdict(accept=True, score=10, reason="")),
        ('{"accept": true, "score": -1}', Verdict(accept=True, score=0, reason="")),
        (
            'Sure! ```{"accept": true, "score": 7, "reason": "ok"}``` I hope so.',
            Verdict(accept=True, score=7, reason="ok"),
        ),
    ],
)
def test_a_verdict_is_read_out_of_what_the_model_says(said: str, verdict: Verdict) -> None:
    assert read_verdict(said) == verdict


@pytest.mark.parametrize(
    "said",
    [
        "",
        "Looks fine to me!",
        '{"accept": true, "score": 8, "rea',
        "}{",
        '{"score": 8}',
        '{"accept": "yes", "score": 8}',
        '{"accept": 1, "score": 8}',
        '{"accept": true, "score": true}',
        '{"accept": true, "score": "8"}',
        '{"accept": true}',
        '{"accept": true, "score": NaN}',
        '{"a": ' * 10_000 + "}" * 10_000,
        '{"accept": true, "score": ' + "9" * 5_000 + "}",
    ],
    ids=lambda said: said[:30],
)
def test_what_cannot_be_read_rejects_and_says_so(said: str) -> None:
    assert read_verdict(said) == UNREADABLE
    assert not UNREADABLE.accept


def test_a_reason_that_no_encoding_can_carry_does_not_get_into_the_next_prompt() -> None:
    verdict = read_verdict('{"accept": false, "score": 1, "reason": "half \\ud83d a face"}')
    assert verdict.reason.encode() == b"half ? a face"


said = st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=9)
almost = st.fixed_dictionaries(
    {}, optional={"accept": said, "score": said | st.lists(said), "reason": said, "more": said}
).map(json.dumps)


@given(st.text() | almost)
def test_whatever_is_said_there_is_a_verdict_that_can_be_shown(said: str) -> None:
    verdict = read_verdict(said)
    assert 0 <= verdict.score <= 10
    verdict.reason.encode()
