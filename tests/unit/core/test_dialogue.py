"""A turn, told from its first step to its reply."""

from collections.abc import Iterator
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordsvc.core.dialogue import (
    CHECKER,
    MOVES,
    PLANNER,
    RESPONDER,
    SPOKEN,
    WORKER,
    Dialogue,
    Phase,
    Reply,
    ReplyMode,
    Rules,
    Run,
    Step,
    Verdict,
)

TWO = Rules(agents=(PLANNER, RESPONDER))
THREE = Rules(revisions_max=2)
SEND, STREAM = ReplyMode.CHECK_THEN_SEND, ReplyMode.STREAM_THEN_CHECK
GOOD = Verdict(accept=True, score=9, reason="right")


def bad(score: int) -> Verdict:
    return Verdict(accept=False, score=score, reason="wrong")


def play(dialogue: Dialogue, verdicts: Iterator[Verdict]) -> list[Step]:
    """Run a whole turn: plans and drafts are numbered, verdicts are given."""
    steps = [dialogue.start()]
    drafts = 0
    while True:
        step = steps[-1]
        run = step.then if isinstance(step, Reply) else step
        if run is None:
            return steps
        match run.phase:
            case Phase.PLAN:
                steps.append(dialogue.finished("the plan"))
            case Phase.RESPOND | Phase.REVISE:
                drafts += 1
                steps.append(dialogue.finished(f"draft {drafts}"))
            case Phase.CHECK:
                steps.append(dialogue.finished(next(verdicts)))


def phases(steps: list[Step]) -> list[Phase | None]:
    """Return the phases in the order they ran; None where the turn ended."""
    ran: list[Phase | None] = []
    for step in steps:
        if isinstance(step, Run):
            ran.append(step.phase)
        else:
            ran.append(step.then.phase if step.then else None)
    return ran


def test_two_agents_plan_and_respond() -> None:
    steps = play(Dialogue(TWO, SEND), iter(()))
    assert steps == [
        Run(Phase.PLAN, PLANNER),
        Run(Phase.RESPOND, RESPONDER, plan="the plan"),
        Reply("draft 1", None),
    ]


def test_two_agents_do_the_same_in_both_modes_and_may_always_stream() -> None:
    assert play(Dialogue(TWO, SEND), iter(())) == play(Dialogue(TWO, STREAM), iter(()))
    assert Dialogue(TWO, SEND).streams
    assert Dialogue(TWO, STREAM).streams


def test_three_agents_send_what_the_checker_accepts() -> None:
    steps = play(Dialogue(THREE, SEND), iter([GOOD]))
    assert phases(steps) == [Phase.PLAN, Phase.RESPOND, Phase.CHECK, None]
    assert steps[-1] == Reply("draft 1", GOOD)


def test_a_draft_that_may_be_overruled_is_not_streamed() -> None:
    assert not Dialogue(THREE, SEND).streams
    assert Dialogue(THREE, STREAM).streams


def test_the_checker_sees_the_draft_and_the_reviser_sees_the_verdict_too() -> None:
    steps = play(Dialogue(THREE, SEND), iter([bad(3), GOOD]))
    assert steps[2] == Run(Phase.CHECK, CHECKER, plan="the plan", draft="draft 1")
    assert steps[3] == Run(
        Phase.REVISE, RESPONDER, plan="the plan", draft="draft 1", verdict=bad(3)
    )
    assert steps[-1] == Reply("draft 2", GOOD)


def test_when_revisions_run_out_the_best_draft_is_sent() -> None:
    steps = play(Dialogue(THREE, SEND), iter([bad(4), bad(6), bad(5)]))
    assert steps[-1] == Reply("draft 2", bad(6), gave_up=True)
    assert phases(steps).count(Phase.REVISE) == THREE.revisions_max


def test_of_equally_bad_drafts_the_latest_is_sent() -> None:
    steps = play(Dialogue(THREE, SEND), iter([bad(5), bad(5), bad(5)]))
    assert steps[-1] == Reply("draft 3", bad(5), gave_up=True)


def test_an_accepted_draft_beats_a_higher_score_that_was_not() -> None:
    grudging = Verdict(accept=True, score=2, reason="it will do")
    steps = play(Dialogue(THREE, SEND), iter([bad(8), grudging]))
    assert steps[-1] == Reply("draft 2", grudging)


def test_without_revisions_the_first_bad_verdict_gives_up() -> None:
    steps = play(Dialogue(Rules(revisions_max=0), SEND), iter([bad(1)]))
    assert phases(steps) == [Phase.PLAN, Phase.RESPOND, Phase.CHECK, None]
    assert steps[-1] == Reply("draft 1", bad(1), gave_up=True)


@pytest.mark.parametrize("verdict", [GOOD, bad(1)])
def test_streaming_replies_first_and_a_check_after_it_only_annotates(verdict: Verdict) -> None:
    steps = play(Dialogue(THREE, STREAM), iter([verdict]))
    check = Run(Phase.CHECK, CHECKER, plan="the plan", draft="draft 1")
    assert steps[2:] == [Reply("draft 1", None, then=check), Reply("draft 1", verdict)]


def test_what_the_shell_must_not_do_is_an_assertion() -> None:
    dialogue = Dialogue(THREE, SEND)
    with pytest.raises(AssertionError, match="no phase is running"):
        dialogue.finished("too early")
    dialogue.start()
    with pytest.raises(AssertionError, match="starts once"):
        dialogue.start()
    with pytest.raises(AssertionError, match="a plan is text"):
        dialogue.finished(GOOD)


def test_every_phase_has_a_worker_and_a_row() -> None:
    assert set(WORKER) == set(MOVES) == set(Phase)
    assert frozenset(phase for phase in Phase if WORKER[phase] == RESPONDER) == SPOKEN


VERDICTS = st.builds(Verdict, accept=st.booleans(), score=st.integers(0, 10), reason=st.just(""))
RULES = st.builds(
    Rules, agents=st.sampled_from([TWO.agents, THREE.agents]), revisions_max=st.integers(0, 4)
)


@given(RULES, st.sampled_from(ReplyMode), st.lists(VERDICTS, min_size=5, max_size=5))
def test_whatever_the_checker_says_a_turn_stays_within_the_table_and_ends(
    rules: Rules, mode: ReplyMode, verdicts: list[Verdict]
) -> None:
    steps = play(Dialogue(rules, mode), iter(verdicts))
    ran = phases(steps)
    assert ran[0] is Phase.PLAN
    for phase, following in pairwise(ran):
        assert phase is not None
        assert following in MOVES[phase]
    assert ran.count(Phase.REVISE) <= rules.revisions_max
    replies = [step for step in steps if isinstance(step, Reply)]
    assert steps[-1] in replies
    assert len({reply.text for reply in replies}) == 1  # what was sent is never taken back
    given_up = replies[-1].gave_up
    assert not (given_up and replies[-1].verdict and replies[-1].verdict.accept)


def test_every_move_in_the_table_is_made_by_some_turn() -> None:
    """The diagram in the docs shows the table: it must not show a way that nobody can go."""
    made: set[tuple[Phase, Phase | None]] = set()
    for rules in (TWO, THREE):
        for mode in ReplyMode:
            for verdicts in ([GOOD], [bad(1), GOOD], [bad(1)] * 3):
                ran = phases(play(Dialogue(rules, mode), iter(verdicts)))
                made |= {(a, b) for a, b in pairwise(ran) if a is not None}
    assert made == {(start, end) for start, ends in MOVES.items() for end in ends}
