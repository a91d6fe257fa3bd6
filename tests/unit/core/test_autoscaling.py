"""Whether engines are added or taken away, told as stories of a pool over time."""

from dataclasses import dataclass, field, replace
from math import nan
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coordsvc.core.autoscaling import (
    Decision,
    Direction,
    Observation,
    Reason,
    ScalingState,
    ScalingTerms,
    decide,
)
from coordsvc.core.scaling_report import ALIVE, BUSY, C_COORD, PHASES, REPORTS, TURNS, part_key
from coordsvc.core.units import SECOND, Instant, seconds

TERMS = ScalingTerms(
    window_us=seconds(10),
    sustain_out_us=seconds(5),
    sustain_in_us=seconds(20),
    cool_out_us=seconds(10),
    cool_in_us=seconds(30),
    stale_us=seconds(6),
)
PLACES = 4
OUT, IN, HOLD = Direction.OUT, Direction.IN, Direction.HOLD


@dataclass
class Pool:
    """A pool that is asked every second, and does what is decided; its replicas tell each time."""

    terms: ScalingTerms = TERMS
    running: int = 1
    target: int = 1
    least: int = 1
    most: int = 4
    starts: bool = True
    """Whether what is asked for runs a second later."""
    now: float = 1_000.0
    state: ScalingState | None = None
    said: list[Decision] = field(default_factory=list)
    told: int = 0
    sums: dict[str, float] = field(default_factory=lambda: {TURNS: 0.0, C_COORD: 0.0})
    engines: dict[str, dict[str, float]] = field(default_factory=dict)

    def goes_on(
        self,
        for_s: int,
        *,
        turns: float = 5,
        c_coord_s: float = 0.1,
        busy: float = 0.5,
        engines_tell: bool = True,
        ingress_tells: bool = True,
        **parts: float,
    ) -> list[Decision]:
        """Let seconds pass: so many turns each, so much C_coord a turn, parts as shares of it.

        `busy`: how much of each engine is taken.
        """
        parts = parts or {"offer_wait": 0.9, "call": 0.1}
        before = len(self.said)
        for _ in range(for_s):
            self.now += 1
            if self.starts and self.target != self.running:
                self.running = self.target
            if ingress_tells:
                self.told += 1
                self.sums[TURNS] += turns
                self.sums[C_COORD] += turns * c_coord_s * SECOND
                for part, share in parts.items():
                    key = part_key(part)
                    self.sums[key] = self.sums.get(key, 0) + turns * c_coord_s * share * SECOND
            if engines_tell:
                self._engines_tell(busy)
            self._ask()
        return self.said[before:]

    def _engines_tell(self, busy: float) -> None:
        names = [f"e{number}" for number in range(self.running)]
        kept = {name: one for name, one in self.engines.items() if name in names}
        self.engines = kept
        for name in names:
            one = kept.setdefault(name, {REPORTS: 0, ALIVE: 0, BUSY: 0, PHASES: 0})
            kept[name] = {
                REPORTS: one[REPORTS] + 1,
                ALIVE: one[ALIVE] + SECOND,
                BUSY: one[BUSY] + busy * SECOND,
                PHASES: one[PHASES] + busy * PLACES * SECOND,
            }

    def observation(self) -> Observation:
        return Observation(
            running=self.running,
            target=self.target,
            least=self.least,
            most=self.most,
            ingresses={"i1": {**self.sums, REPORTS: self.told}} if self.told else {},
            engines=dict(self.engines),
        )

    def _ask(self) -> None:
        now = Instant(round(self.now * SECOND))
        decision, self.state = decide(self.terms, self.state, now, self.observation())
        self.said.append(decision)
        self.target = decision.replicas

    @property
    def last(self) -> Decision:
        return self.said[-1]


def changes(said: list[Decision]) -> list[tuple[Direction, Reason, int]]:
    return [(one.direction, one.reason, one.replicas) for one in said if one.direction is not HOLD]


def reasons(said: list[Decision]) -> set[Reason]:
    return {one.reason for one in said}


def short(c_coord_s: float = 0.8, **more: Any) -> dict[str, Any]:
    """A load that is too much: C_coord above the threshold, for want of capacity."""
    return {"c_coord_s": c_coord_s, "busy": 1.0, **more}


# Out


def test_engines_are_added_once_c_coord_has_stayed_above_for_want_of_capacity() -> None:
    pool = Pool()
    said = pool.goes_on(15, **short())
    assert reasons(said) == {Reason.FILLING, Reason.SUSTAINING}
    (done,) = changes(pool.goes_on(1, **short()))
    assert done[:2] == (OUT, Reason.C_COORD)
    assert (
        pool.last.says
        == "from 1 to 3: C_coord is 0.80 s, 90 % of it for want of capacity".replace(" %", "%")
    )


def test_as_many_are_added_as_were_needed_for_all_who_waited_and_a_step_at_most() -> None:
    """5 turns a second that wait 0.72 s: 3.6 phases, 0.9 of an engine, beside the one that is full.

    1.9 engines at 70 % make three. With four times the waiting it would be seven; a step is two.
    """
    pool = Pool()
    assert changes(pool.goes_on(20, **short())) == [(OUT, Reason.C_COORD, 3)]
    pool = Pool(terms=replace(TERMS, step_out_max=1))
    assert changes(pool.goes_on(20, **short())) == [(OUT, Reason.C_COORD, 2)]
    pool = Pool(terms=replace(TERMS, step_out_max=10), most=20)
    assert changes(pool.goes_on(20, **short(c_coord_s=3.2))) == [(OUT, Reason.C_COORD, 7)]


def test_a_burst_shorter_than_it_must_last_changes_nothing() -> None:
    pool = Pool()
    pool.goes_on(20, c_coord_s=0.3, busy=0.9)
    assert changes(pool.goes_on(4, **short())) == []
    assert changes(pool.goes_on(30, c_coord_s=0.3, busy=0.9)) == []


def test_more_engines_do_not_cure_a_slow_hop() -> None:
    pool = Pool()
    said = pool.goes_on(60, c_coord_s=0.9, offer_wait=0.2, contention=0.15, call=0.61, agent=0.04)
    assert changes(said) == []
    assert pool.last.reason is Reason.NOT_CAPACITY
    assert pool.last.says == "C_coord is 0.90 s, but not capacity: call is 61% of it"


@pytest.mark.parametrize("part", ["offer_wait", "engine_queue", "contention"])
def test_each_part_that_more_engines_cure_counts(part: str) -> None:
    pool = Pool()
    assert changes(pool.goes_on(20, **short(**{part: 0.6, "call": 0.4}))) != []


def test_contention_alone_adds_one_engine_at_a_time() -> None:
    """Nothing waits, and no engine is full: only the batches are too large."""
    pool = Pool()
    said = pool.goes_on(20, c_coord_s=0.8, busy=0.3, contention=0.8, call=0.2)
    assert changes(said) == [(OUT, Reason.C_COORD, 2)]


def test_nothing_is_added_while_what_was_asked_for_does_not_run() -> None:
    """A placement group that no node fits yet; Ray's autoscaler is to bring one."""
    pool = Pool(starts=False)
    said = pool.goes_on(120, **short())
    assert changes(said) == [(OUT, Reason.C_COORD, 3)]
    assert pool.last.reason is Reason.STARTING
    assert pool.last.says == "C_coord is 0.80 s; 2 replicas do not run yet"
    pool.starts = True
    said = pool.goes_on(16, **short())
    assert changes(said) == [(OUT, Reason.C_COORD, 4)], "and is still too little"


def test_after_a_change_the_pool_is_watched_anew_and_let_cool() -> None:
    terms = replace(TERMS, step_out_max=1, cool_out_us=seconds(20))
    pool = Pool(running=2, target=2, most=10, terms=terms)
    assert changes(pool.goes_on(21, **short())) == [(OUT, Reason.C_COORD, 3)]
    assert reasons(pool.goes_on(10, **short())) == {Reason.FILLING}
    assert reasons(pool.goes_on(5, **short())) == {Reason.SUSTAINING}
    said = pool.goes_on(5, **short())
    assert reasons(said) == {Reason.COOLING}
    assert said[-1].wanted == 4
    assert changes(pool.goes_on(1, **short())) == [(OUT, Reason.C_COORD, 4)]


def test_at_the_ceiling_it_says_so_and_tells_what_it_would_want() -> None:
    pool = Pool(running=4, target=4)
    said = pool.goes_on(60, **short())
    assert changes(said) == []
    assert (pool.last.reason, pool.last.replicas) == (Reason.AT_MAX, 4)
    assert pool.last.wanted > 4


# In


def test_an_engine_goes_when_the_others_can_take_over_what_it_did() -> None:
    """Three at 20 %: two would be at 30 %, and one at 60 %."""
    pool = Pool(running=3, target=3)
    said = pool.goes_on(31, c_coord_s=0.1, busy=0.2)
    assert changes(said) == [(IN, Reason.CONSOLIDATES, 2)]
    assert reasons(said) == {Reason.FILLING, Reason.SUSTAINING, Reason.CONSOLIDATES}
    assert changes(pool.goes_on(60, turns=1, c_coord_s=0.05, busy=0.3)) == [
        (IN, Reason.CONSOLIDATES, 1)
    ]
    assert pool.goes_on(60, c_coord_s=0.2, busy=0.6)[-1].reason is Reason.STEADY


def test_two_engines_that_one_could_not_replace_stay_however_low_c_coord_is() -> None:
    """40 % of each is 80 % of one: survivors take over N/(N - 1)."""
    pool = Pool(running=2, target=2)
    assert changes(pool.goes_on(600, c_coord_s=0.02, busy=0.4)) == []
    assert pool.last.reason is Reason.STEADY


def test_what_waits_would_wait_longer_and_so_decides_before_the_load_does() -> None:
    """Two engines at 33 %: one could do it at 66 %, but 0.15 s of waiting would be 0.6 s."""
    pool = Pool(running=2, target=2)
    assert changes(pool.goes_on(200, turns=0.5, c_coord_s=0.17, busy=0.33)) == []
    pool = Pool(running=2, target=2)
    assert changes(pool.goes_on(45, turns=0.5, c_coord_s=0.02, busy=0.33)) == [
        (IN, Reason.CONSOLIDATES, 1)
    ]


def test_between_the_two_thresholds_nothing_is_done() -> None:
    pool = Pool(running=2, target=2)
    assert changes(pool.goes_on(300, c_coord_s=0.45, busy=0.3, call=1.0)) == []
    assert pool.last.reason is Reason.STEADY


def test_after_the_last_turn_no_data_is_idleness_and_the_pool_shrinks_to_its_floor() -> None:
    """NaN after traffic stops must not keep engines for ever."""
    pool = Pool(running=4, target=4, least=2)
    pool.goes_on(20, c_coord_s=0.3, busy=0.9)
    said = pool.goes_on(200, turns=0, busy=0)
    assert changes(said) == [(IN, Reason.IDLE, 3), (IN, Reason.IDLE, 2)]
    assert pool.last.reason is Reason.AT_MIN
    assert pool.last.c_coord_us is None


def test_turns_that_take_longer_than_the_window_are_not_idleness() -> None:
    pool = Pool(running=2, target=2)
    assert changes(pool.goes_on(300, turns=0, busy=0.2)) == []
    assert pool.last.reason is Reason.UNFINISHED


def test_a_step_in_may_be_larger_and_ends_where_the_load_does() -> None:
    pool = Pool(running=4, target=4, terms=replace(TERMS, step_in_max=3))
    assert changes(pool.goes_on(31, c_coord_s=0.01, busy=0.3))[0] == (IN, Reason.CONSOLIDATES, 2)


def test_what_never_started_is_given_up_when_it_is_not_needed_any_more() -> None:
    pool = Pool(starts=False)
    pool.goes_on(17, **short())
    assert (pool.running, pool.target) == (1, 3)
    pool.goes_on(80, turns=0, busy=0)
    assert pool.target == 1


def test_what_did_not_start_yet_stays_wanted_where_one_is_nearly_full() -> None:
    pool = Pool(running=1, target=3, starts=False)
    assert changes(pool.goes_on(300, turns=0.5, c_coord_s=0.05, busy=0.8)) == []


def test_a_pool_that_does_not_tell_what_it_does_is_not_made_smaller() -> None:
    pool = Pool(running=2, target=2)
    pool.goes_on(40, turns=0, busy=0)  # one of two is gone by now
    pool = Pool(running=2, target=2)
    assert changes(pool.goes_on(200, turns=0, engines_tell=False)) == []
    assert pool.last.reason is Reason.NO_REPORT


def test_a_stale_report_is_no_report() -> None:
    pool = Pool(running=2, target=2)
    pool.goes_on(12, c_coord_s=0.05, busy=0.1)
    said = pool.goes_on(200, c_coord_s=0.05, engines_tell=False)
    assert changes(said) == []
    assert pool.last.reason is Reason.NO_REPORT


def test_without_a_word_from_the_door_engines_that_work_stay() -> None:
    pool = Pool(running=2, target=2)
    assert changes(pool.goes_on(200, ingress_tells=False, busy=0.2)) == []
    assert pool.last.reason is Reason.UNFINISHED


# Bounds, dry run, bad input


def test_a_target_outside_the_bounds_is_brought_inside_at_once() -> None:
    assert changes(Pool(running=9, target=9).goes_on(1)) == [(IN, Reason.BOUNDS, 4)]
    assert changes(Pool(running=1, target=1, least=2).goes_on(1)) == [(OUT, Reason.BOUNDS, 2)]


def test_a_dry_run_says_what_it_would_have_done_and_does_nothing() -> None:
    pool = Pool(terms=replace(TERMS, dry_run=True))
    said = pool.goes_on(40, **short())
    assert changes(said) == []
    assert pool.target == 1
    assert (pool.last.reason, pool.last.wanted) == (Reason.DRY_RUN, 3)
    assert pool.last.says.startswith("dry run, nothing is done; else from 1 to 3: ")


@pytest.mark.parametrize("jump_s", [-500.0, 3_600.0])
def test_a_clock_that_jumps_only_makes_the_pool_be_watched_anew(jump_s: float) -> None:
    pool = Pool(running=2, target=2)
    pool.goes_on(15, c_coord_s=0.05, busy=0.1)
    pool.now += jump_s
    said = pool.goes_on(1, c_coord_s=0.05, busy=0.1)
    assert said[0].reason is Reason.CLOCK
    assert reasons(pool.goes_on(9, c_coord_s=0.05, busy=0.1)) == {Reason.FILLING}


def test_what_is_no_number_is_not_heard() -> None:
    pool = Pool(running=2, target=2)
    pool.goes_on(20, c_coord_s=0.3, busy=0.9)
    sums = pool.sums
    pool.sums = {**sums, C_COORD: nan}
    assert changes(pool.goes_on(60, c_coord_s=0.3, busy=0.9)) == []
    assert pool.last.c_coord_us is None


report = st.dictionaries(
    st.sampled_from([REPORTS, TURNS, C_COORD, ALIVE, BUSY, PHASES, part_key("offer_wait"), "x"]),
    st.floats() | st.integers(-10, 10**12),
    max_size=8,
)
observations = st.builds(
    Observation,
    running=st.integers(0, 5),
    target=st.integers(0, 6),
    least=st.integers(1, 3),
    most=st.integers(3, 5),
    ingresses=st.dictionaries(st.sampled_from(["i1", "i2"]), report, max_size=2),
    engines=st.dictionaries(st.sampled_from(["e1", "e2", "e3"]), report, max_size=3),
)
QUICK = ScalingTerms(
    window_us=seconds(2),
    sustain_out_us=seconds(0),
    sustain_in_us=seconds(0),
    cool_out_us=seconds(0),
    cool_in_us=seconds(0),
)


@settings(max_examples=100)
@given(st.lists(st.tuples(st.integers(-3, 10), observations), max_size=12))
def test_whatever_is_told_the_number_stays_within_bounds_and_steps(
    story: list[tuple[int, Observation]],
) -> None:
    state, now = None, 100
    for passed, pool in story:
        now += passed
        decision, state = decide(QUICK, state, Instant(now * SECOND), pool)
        assert decision.says
        if pool.least <= pool.target <= pool.most:
            assert pool.least <= decision.replicas <= pool.most
            assert -QUICK.step_in_max <= decision.replicas - pool.target <= QUICK.step_out_max
        went = decision.replicas - pool.target
        assert decision.direction is (OUT if went > 0 else IN if went < 0 else HOLD)


def test_on_a_load_that_repeats_the_pool_does_not_swing() -> None:
    """An hour of a load that two engines do at half, and one cannot."""
    pool = Pool(terms=replace(TERMS, step_out_max=1))
    said: list[Decision] = []
    for _ in range(3_600):
        alone = pool.running == 1
        said += pool.goes_on(1, **(short() if alone else {"c_coord_s": 0.08, "busy": 0.5}))
    assert changes(said) == [(OUT, Reason.C_COORD, 2)]
