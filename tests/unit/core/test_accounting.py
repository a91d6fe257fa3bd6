"""A turn's account: it closes exactly, and only what the reply waited for is in it."""

from hypothesis import given
from hypothesis import strategies as st

from coordsvc.core.accounting import (
    PART_MEANS,
    PARTS,
    PhaseReport,
    PhaseSpan,
    TurnAccount,
    close,
    critical_path,
)
from coordsvc.core.dialogue import PLANNER, RESPONDER, Phase
from coordsvc.core.units import MILLISECOND, Instant, Micros, NodeId


def ms(amount: int) -> Micros:
    return Micros(amount * MILLISECOND)


def span(
    start: int,
    end: int,
    *predecessors: int,
    phase: Phase = Phase.RESPOND,
    solo: int = 0,
    emulated: bool = False,
) -> PhaseSpan:
    """Return a phase from `start` to `end` ms, all of it in the agent, `solo` of it computing."""
    report = PhaseReport(
        phase=phase,
        agent=RESPONDER,
        node=NodeId("n1"),
        agent_us=ms(end - start),
        engine_call_us=ms(solo),
        compute_us=ms(solo),
        solo_us=ms(solo),
        emulated=emulated,
    )
    return PhaseSpan(
        report=report,
        started=Instant(ms(start)),
        ended=Instant(ms(end)),
        predecessors=predecessors,
    )


def in_ms(account: TurnAccount) -> dict[str, float]:
    return {part: spent / MILLISECOND for part, spent in account.parts.items() if spent}


def test_a_turn_reckoned_by_hand() -> None:
    """Plan and respond, 400 ms in all; every part of both phases is known."""
    plan = PhaseSpan(
        report=PhaseReport(
            phase=Phase.PLAN,
            agent=PLANNER,
            node=NodeId("n1"),
            agent_us=ms(90),  # 100 at the ingress: 10 in the call
            offer_wait_us=ms(20),
            engine_call_us=ms(65),  # 60 in the engine: 5 more in a call
            queue_us=ms(10),
            compute_us=ms(50),
            solo_us=ms(30),
            refill_us=ms(8),  # and 12 of contention
        ),
        started=Instant(ms(7)),
        ended=Instant(ms(107)),
    )
    respond = PhaseSpan(
        report=PhaseReport(
            phase=Phase.RESPOND,
            agent=RESPONDER,
            node=NodeId("n2"),
            agent_us=ms(200),
            retry_us=ms(40),  # one engine died
            engine_call_us=ms(150),
            compute_us=ms(148),
            solo_us=ms(148),
        ),
        started=Instant(ms(110)),
        ended=Instant(ms(340)),
        retry_us=ms(25),  # one agent died, too
        predecessors=(0,),
    )
    account = close((plan, respond), wall_us=ms(400), ingress_us=ms(12), reply=1)
    assert account.solo_us == ms(178)
    assert account.engine_us == ms(208)
    assert account.c_coord_us == ms(222)
    assert in_ms(account) == {
        "offer_wait": 20,
        "engine_queue": 10,
        "contention": 12,
        "refill": 8,
        "call": 10 + 5 + 5 + 2,
        "agent": 5 + 10,
        "retry": 65,
        "ingress": 12,
        "unexplained": 400 - 178 - 164,
    }


def test_the_path_goes_through_the_last_arriving_predecessor() -> None:
    spans = (span(0, 10), span(0, 30), span(30, 50, 0, 1))
    assert critical_path(spans, 2) == (1, 2)


def test_of_two_that_arrive_together_the_later_index_is_on_the_path() -> None:
    spans = (span(0, 30), span(5, 30), span(30, 50, 0, 1))
    assert critical_path(spans, 2) == (1, 2)


def test_a_hedge_that_lost_is_beside_the_path() -> None:
    """Two responders race; the second wins, and the first one's work is not the turn's."""
    plan = span(0, 100, solo=80)
    loser, winner = span(100, 190, 0, solo=70), span(100, 160, 0, solo=50)
    account = close((plan, loser, winner), wall_us=ms(165), ingress_us=ms(5), reply=2)
    assert account.solo_us == ms(130)
    assert account.off_path_us == ms(90)
    assert account.post_reply_us == 0
    assert in_ms(account) == {"agent": 30, "ingress": 5}


def test_parallel_work_that_finished_early_is_beside_the_path() -> None:
    fast, slow, join = span(0, 20, solo=20), span(0, 80, solo=80), span(80, 100, 0, 1, solo=20)
    account = close((fast, slow, join), wall_us=ms(100), ingress_us=ms(0), reply=2)
    assert account.solo_us == ms(100)
    assert account.c_coord_us == 0
    assert account.off_path_us == ms(20)


def test_a_check_after_the_reply_is_outside_the_turn() -> None:
    respond, check = span(0, 100, solo=90), span(100, 300, 0, phase=Phase.CHECK, solo=200)
    without = close((respond,), wall_us=ms(100), ingress_us=ms(0), reply=0)
    account = close((respond, check), wall_us=ms(100), ingress_us=ms(0), reply=0)
    assert account.post_reply_us == ms(200)
    assert account.off_path_us == 0
    assert (account.wall_us, account.parts) == (without.wall_us, without.parts)
    assert account.solo_us == ms(90)


def test_waiting_for_a_slow_client_is_outside_the_turn() -> None:
    respond = span(0, 100, solo=90)
    fast = close((respond,), wall_us=ms(100), ingress_us=ms(0), reply=0)
    slow = close((respond,), wall_us=ms(100), ingress_us=ms(0), reply=0, client_wait_us=ms(9_000))
    assert slow.client_wait_us == ms(9_000)
    assert slow.c_coord_us == fast.c_coord_us


def test_one_emulated_phase_makes_the_whole_account_emulated() -> None:
    real, made_up = span(0, 10), span(10, 20, 0, emulated=True)
    assert close((real, made_up), wall_us=ms(20), ingress_us=ms(0), reply=1).emulated
    assert not close((real,), wall_us=ms(10), ingress_us=ms(0), reply=0).emulated


def test_every_part_is_explained() -> None:
    assert set(PART_MEANS) == set(PARTS)


DURATIONS = st.integers(0, 10**7)


@st.composite
def phase_spans(draw: st.DrawFn) -> tuple[PhaseSpan, ...]:
    """Return phases with arbitrary reports, each needing some of those before it."""
    spans: list[PhaseSpan] = []
    for i in range(draw(st.integers(1, 5))):
        start, parts = draw(DURATIONS), [draw(DURATIONS) for _ in range(8)]
        report = PhaseReport(
            phase=Phase.RESPOND,
            agent=RESPONDER,
            node=None,
            agent_us=Micros(parts[0]),
            offer_wait_us=Micros(parts[1]),
            engine_call_us=Micros(parts[2]),
            retry_us=Micros(parts[3]),
            queue_us=Micros(parts[4]),
            compute_us=Micros(parts[5]),
            solo_us=Micros(parts[6]),
            refill_us=Micros(parts[7]),
        )
        before = draw(st.sets(st.integers(0, i - 1))) if i else set()
        spans.append(
            PhaseSpan(
                report=report,
                started=Instant(start),
                ended=Instant(start + draw(DURATIONS)),
                retry_us=Micros(draw(DURATIONS)),
                predecessors=tuple(sorted(before)),
            )
        )
    return tuple(spans)


@given(phase_spans(), DURATIONS, DURATIONS)
def test_the_account_closes_exactly_whatever_was_reported(
    spans: tuple[PhaseSpan, ...], wall: int, ingress: int
) -> None:
    account = close(spans, wall_us=Micros(wall), ingress_us=Micros(ingress), reply=len(spans) - 1)
    assert account.wall_us == account.solo_us + sum(account.parts.values())
    assert account.c_coord_us == sum(account.parts.values())


@given(phase_spans())
def test_the_parts_of_the_phases_on_the_path_sum_to_their_wall_time(
    spans: tuple[PhaseSpan, ...],
) -> None:
    """With nothing else in the turn, nothing is left unexplained."""
    path = critical_path(spans, len(spans) - 1)
    wall = sum(spans[i].wall_us for i in path)
    account = close(spans, wall_us=Micros(wall), ingress_us=Micros(0), reply=len(spans) - 1)
    assert account.parts["unexplained"] == 0
