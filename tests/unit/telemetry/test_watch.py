"""A service's life in windows: what each comes to, and that a drift is warned of."""

import logging
from dataclasses import replace
from typing import Any

import pytest

from coordsvc.core.collapse import EarlyWarning, Level
from coordsvc.core.fleet import WHOLE, States
from coordsvc.core.units import SECOND, Instant
from coordsvc.telemetry.pool import PoolSnapshot
from coordsvc.telemetry.watch import WINDOW_US, Watch
from tests.unit.telemetry.told import PLAN, RESPOND, report, turn

WINDOW_S = WINDOW_US // SECOND


class Life:
    """Tells a watch of turns, and of the pool each half second."""

    def __init__(self) -> None:
        self.watch = Watch()
        self.now = Instant(0)
        self.states = States()
        self.ended = {("planner", "released"): 0, ("planner", "declined"): 0}
        self.epoch = 1

    def tell(self) -> EarlyWarning | None:
        snapshot = PoolSnapshot(
            epoch=self.epoch,
            nodes=1,
            fleet=self.states.as_dict(),
            ended_offers=dict(self.ended),
            accelerators=WHOLE,
        )
        return self.watch.pool(self.now, snapshot)

    def window(self, *turns: Any, busy: float = 0.5, declined: int = 0) -> EarlyWarning | None:
        """Let a window pass in which these turns ended; return what was said."""
        for one in turns:
            self.watch.turn(one, 100_000)
        said = None
        self.ended["planner", "released"] += 2 * len(turns)
        self.ended["planner", "declined"] += declined
        for _ in range(2 * WINDOW_S):
            self.now = Instant(self.now + SECOND // 2)
            part = round(busy * SECOND * WHOLE / 2)
            self.states.add(States(computing=part, idle=SECOND * WHOLE // 2 - part))
            said = self.tell() or said
        return said


def begun() -> Life:
    life = Life()
    life.tell()
    return life


def test_a_calm_service_is_calm() -> None:
    life = begun()
    said = [life.window(*[turn(PLAN, RESPOND, wall_ms=200)] * 20) for _ in range(30)]
    assert all(one is not None and one.level is Level.CALM for one in said)


def test_a_c_coord_that_grows_is_warned_of_before_it_crosses(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It gains 10 ms a window as the load rises; at first the bound is far off."""
    life = begun()
    warned, crossed = None, None
    with caplog.at_level(logging.INFO):
        for n in range(60):
            c_coord = 50 + 10 * n
            told = [turn(PLAN, RESPOND, wall_ms=150 + c_coord + d) for d in (-8, -3, 0, 3, 8)]
            said = life.window(*told * 8, busy=min(0.99, 0.4 + 0.012 * n))
            if said is not None and said.level is Level.WARNING and warned is None:
                warned = n
                assert said.time_to_cross_us is not None
                assert "0.50" in said.why or "0.5 s" in said.why
            if c_coord > 500 and crossed is None:
                crossed = n
    assert warned is not None
    assert crossed is not None
    assert warned + 3 <= crossed
    assert any(
        record.levelno == logging.WARNING and "collapse: warning" in record.getMessage()
        for record in caplog.records
    ), "the reason is in the log, in words"


def test_what_a_window_came_to() -> None:
    life = begun()
    slow = turn(PLAN, report(RESPOND.phase, RESPOND.agent, attempts=3), wall_ms=900, solo_ms=150)
    quick = turn(PLAN, RESPOND, wall_ms=300, solo_ms=150)
    life.watch.turn(slow, 500_000)
    for one in (quick, quick, quick):
        life.watch.turn(one, 100_000)
    seen = []
    life.watch._detector.window = seen.append
    with pytest.raises(AttributeError):
        life.window(declined=3, busy=0.6)
    (window,) = seen
    assert (window.turns, window.turns_slow, window.retries) == (4, 1, 2)
    assert window.c_coord_us == pytest.approx((750_000 + 3 * 150_000) / 4)
    assert window.concurrency == pytest.approx((0.9 + 3 * 0.3) / WINDOW_S)
    assert window.p95_us == 900_000
    assert window.c_baseline_us == pytest.approx(200_000)
    assert window.s_scale == pytest.approx(0.6)
    assert window.accelerators == pytest.approx(1.0)
    assert (window.offers_made, window.offers_accepted, window.offers_unused) == (3, 0, 3)


def test_a_new_allocator_begins_a_window_of_its_own() -> None:
    life = begun()
    life.window(*[turn(PLAN, RESPOND)] * 5)
    life.epoch, life.states = 2, States()
    assert life.tell() is None
    assert life.watch._turns == []


def test_windows_without_turns_say_nothing_and_break_nothing() -> None:
    life = begun()
    for _ in range(12):
        said = life.window(busy=0.0)
        assert said is not None
        assert said.level is Level.CALM


def test_a_watch_has_its_own_length_of_windows() -> None:
    watch = Watch(replace(Watch()._detector.terms), window_us=2 * SECOND)
    snapshot = PoolSnapshot(epoch=1, nodes=0)
    assert watch.pool(Instant(0), snapshot) is None
    assert watch.pool(Instant(SECOND), snapshot) is None
    assert watch.pool(Instant(2 * SECOND), snapshot) is not None
