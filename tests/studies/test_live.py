"""What a live run is counted by, on turns of which everything is known."""

import pytest

from coordsvc.experiments.live import BLOCKS, Load, Seen, figures, prompts
from coordsvc.experiments.study import Row

PLACES = 4
SHARE = {"planner": 1 / PLACES, "responder": 1 / PLACES}


def phase(agent: str, compute_s: float, *, wait_s: float = 0.0) -> dict[str, object]:
    return {
        "agent": agent,
        "agent_s": wait_s + compute_s,
        "engine_call_s": compute_s,
        "queue_s": 0.0,
        "compute_s": compute_s,
        "solo_s": compute_s,
    }


def turn(sent_s: float, *phases: dict[str, object], call_s: float = 0.0) -> Seen:
    lasted = call_s + sum(float(str(one["agent_s"])) for one in phases)
    parts = dict.fromkeys(
        (
            "offer_wait",
            "engine_queue",
            "contention",
            "refill",
            "call",
            "agent",
            "bus",
            "store",
            "retry",
            "ingress",
            "unexplained",
        ),
        0.0,
    )
    account = {"phases": list(phases), "parts_s": parts, "c_coord_s": call_s}
    return Seen(sent_s=sent_s, ended_s=sent_s + lasted, account=account)


def counted(turns: list[Seen], begins_s: float, ends_s: float, gpus: int = 1) -> list[Row]:
    return figures(Load(turns=turns, begins_s=begins_s, ends_s=ends_s), gpus, SHARE, {"seed": 1})


def total(rows: list[Row], name: str) -> float:
    return sum(float(row[name] or 0) * float(row["seconds"] or 0) for row in rows)


def back_to_back(clients: int, lasts_s: float, until_s: float) -> list[Seen]:
    """Clients that always have a turn under way, half plan and half reply, and no pause."""
    half = lasts_s / 2
    return [
        turn(n * lasts_s, phase("planner", half), phase("responder", half))
        for _ in range(clients)
        for n in range(int(until_s / lasts_s))
    ]


def test_a_pool_without_a_pause_is_at_its_ideal_in_every_block_however_turns_end() -> None:
    """Four turns at a time, ending together every 3 s: blocks of 2 s see 4, 0, or 4 ends."""
    rows = counted(back_to_back(PLACES, 3.0, 30.0), 6.0, 6.0 + 2.0 * BLOCKS)
    assert {row["turns"] for row in rows} == {0, PLACES}
    for row in rows:
        assert row["of_ideal"] == pytest.approx(1.0)
        assert row["s_measured"] == pytest.approx(PLACES)
        assert row["s_ideal"] == pytest.approx(PLACES)
        assert row["turns_per_s"] == pytest.approx(PLACES / 3.0)


def test_half_the_places_idle_is_half_of_the_ideal() -> None:
    rows = counted(back_to_back(PLACES // 2, 3.0, 30.0), 6.0, 22.0)
    assert [row["of_ideal"] for row in rows] == pytest.approx([0.5] * BLOCKS)
    assert [row["s_ideal"] for row in rows] == pytest.approx([PLACES] * BLOCKS)


def test_computing_counts_where_it_was_done_and_waiting_nowhere() -> None:
    """It waits 4 s, plans in [4, 6), and replies in [6, 8): nothing before, all in four blocks."""
    one = turn(0.0, phase("planner", 2.0, wait_s=4.0), phase("responder", 2.0))
    rows = counted([one], 0.0, 8.0 + 1e-9)
    assert [float(row["of_ideal"] or 0) for row in rows] == pytest.approx(
        [0.0] * 4 + [1 / PLACES] * 4, abs=1e-6
    )
    assert float(rows[4]["planner_part"] or 0) == rows[4]["of_ideal"]
    assert float(rows[7]["responder_part"] or 0) == rows[7]["of_ideal"]
    assert total(rows, "turns_per_s") == pytest.approx(1.0)
    assert total(rows, "s_measured") == pytest.approx(4.0)


def test_what_no_agent_spent_lies_around_the_phases() -> None:
    """Three gaps of a second: [1, 3) and [4, 6) are computed in, of 7 s."""
    one = turn(0.0, phase("planner", 2.0), phase("responder", 2.0), call_s=3.0)
    rows = counted([one], 0.0, 8.0)
    assert [bool(row["of_ideal"]) for row in rows] == [
        *(False, True, True),
        *(False, True, True),
        *(False, False),
    ]


def test_computing_outside_the_busy_time_does_not_count() -> None:
    one = turn(0.0, phase("planner", 4.0), phase("responder", 4.0))
    assert total(counted([one], 6.0, 14.0), "turns_per_s") == pytest.approx(2.0 / 8.0)


def test_a_block_in_which_no_turn_ended_has_no_latency() -> None:
    one = turn(0.0, phase("planner", 4.0), phase("responder", 3.5))
    *before, last = counted([one], 0.0, 8.0)
    assert {row["p95_s"] for row in before} == {row["c_coord_s"] for row in before} == {None}
    assert (last["turns"], last["p95_s"]) == (1, 7.5)


def test_the_same_seed_asks_the_same_and_another_something_else() -> None:
    assert prompts(20, 2024, (32, 64)) == prompts(20, 2024, (32, 64))
    assert prompts(20, 2024, (32, 64)) != prompts(20, 2025, (32, 64))
    assert all(32 <= tokens <= 64 for _, tokens in prompts(50, 1, (32, 64)))
    assert len({question for question, _ in prompts(50, 1, (8, 8))}) == 50
