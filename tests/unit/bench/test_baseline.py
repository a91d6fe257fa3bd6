"""C_baseline, measured in a time that jumps: an emulated engine takes exactly what it declares."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from coordsvc.bench.alone import Alone
from coordsvc.bench.baseline import Plan, calibrate
from coordsvc.core.accounting import TurnResult
from coordsvc.core.baseline import baseline_us
from coordsvc.core.dialogue import Phase
from coordsvc.core.errors import BadRequest
from coordsvc.core.generation import Chunk, EngineInfo, GenerationRequest, SoloProfile
from coordsvc.engines.emulated import EmulatedEngine
from coordsvc.engines.scripted import ScriptedEngine
from coordsvc.engines.settings import EmulatedSettings, ScriptedSettings
from coordsvc.ports import Engine
from coordsvc.settings import AppSettings, check
from coordsvc.telemetry.baselines import Calibration
from tests.jumping import JumpingLoop, LoopClock

SMALL = Plan(dialogues=2, repeats=2, turns=2)
BLOCK = EmulatedSettings().block_tokens
PREFILL_US = EmulatedSettings().prefill_us_per_token
REJECTED = '{"accept": false, "score": 2, "reason": "emulated"}'


def in_jumping_time(story: Callable[[], Any]) -> Any:
    with asyncio.Runner(loop_factory=JumpingLoop) as runner:
        return runner.run(story())


def settings(**engine: Any) -> AppSettings:
    return check({"engine": {"kind": "emulated", **engine}, "http": {"max_tokens_default": 40}})


def measured(
    engine: Callable[[], Engine], plan: Plan = SMALL, app: AppSettings | None = None
) -> Calibration:
    return in_jumping_time(
        lambda: calibrate(
            app or settings(),
            engine(),
            LoopClock(),
            plan,
            now=datetime(2026, 11, 23, tzinfo=UTC),
            fingerprint={"cpu": "abacus"},
            say=lambda _: None,
        )
    )


def emulated(**changes: Any) -> Callable[[], Engine]:
    return lambda: EmulatedEngine(EmulatedSettings(**changes), LoopClock())


def talked(said: tuple[str, ...], *, keep: bool, times: int = 1) -> list[TurnResult]:
    async def story() -> list[TurnResult]:
        engine = EmulatedEngine(EmulatedSettings(), LoopClock())
        await engine.start()
        alone = Alone(settings(), engine, LoopClock())
        for _ in range(times):
            turns = await alone.talk(said, keep=keep)
        return turns

    return in_jumping_time(story)


def test_an_engine_that_takes_what_it_declares_has_a_ratio_of_one() -> None:
    told = measured(emulated())
    assert told.emulated
    assert set(told.cold.phases) == {Phase.PLAN, Phase.RESPOND, Phase.CHECK}
    for figures in told.cold.phases.values():
        # each of some fifty steps is rounded to whole microseconds
        assert figures.ratio == pytest.approx(1.0, abs=2e-4)
        assert figures.ratio_low <= figures.ratio <= figures.ratio_high
    for figures in told.kept.phases.values():
        # predicted by words, kept by whole blocks: less than a block is read again
        again_s = BLOCK * PREFILL_US / 1e6
        assert 0 <= figures.measured_s - figures.predicted_s < again_s + 2e-4


def test_what_keeping_prefixes_saves_is_the_reading_of_what_was_kept() -> None:
    told = measured(emulated())
    kept = told.kept.phases.values()
    saved_s = sum(one.cached_tokens * one.phases for one in kept) * PREFILL_US / 1e6
    assert saved_s > 0
    assert told.c_baseline_cold_s - told.c_baseline_s == pytest.approx(
        saved_s / told.kept.turns, rel=0.05
    )


def test_a_turn_is_the_sum_of_its_phases() -> None:
    told = measured(emulated())
    phases = told.kept.phases.values()
    spent_s = sum(one.measured_s * one.phases for one in phases) / told.kept.turns
    assert told.c_baseline_s == pytest.approx(spent_s, rel=1e-3)
    assert (told.kept.turns, told.kept.runs) == (8, 4)
    for figure in ("predicted_s", "prompt_tokens", "cached_tokens", "output_tokens"):
        spent = sum(getattr(one, figure) * one.phases for one in phases) / told.kept.turns
        assert getattr(told.kept, figure) == pytest.approx(spent, rel=1e-3)
    assert told.kept.together.phases == sum(one.phases for one in phases) == 24


def test_an_engine_that_promises_half_of_what_it_takes_is_found_out() -> None:
    class Boastful(EmulatedEngine):
        async def start(self) -> EngineInfo:
            info = await super().start()
            true = info.profile
            said = SoloProfile(
                start_us=true.start_us / 2,
                prefill_us=true.prefill_us / 2,
                decode_us=true.decode_us / 2,
            )
            return replace(info, profile=said)

    told = measured(lambda: Boastful(EmulatedSettings(), LoopClock()))
    assert told.cold.together.ratio == pytest.approx(2.0, abs=1e-3)
    # what comes out in the end is what it took, whatever was promised
    assert told.c_baseline_s == measured(emulated()).c_baseline_s


class Slower(EmulatedEngine):
    """Takes longer than it declares for some requests."""

    def __init__(self, wait_s: Callable[[GenerationRequest], float]) -> None:
        super().__init__(EmulatedSettings(), LoopClock())
        self._wait_s = wait_s

    async def generate(self, request: GenerationRequest) -> AsyncGenerator[Chunk]:
        await asyncio.sleep(self._wait_s(request))
        async with aclosing(super().generate(request)) as chunks:
            async for chunk in chunks:
                yield chunk


def test_the_interval_is_over_dialogues() -> None:
    """Half of the dialogues take longer: by Student's t, 3.182 * sqrt(4 / 3 / 4) of the mean."""

    def mountains_s(request: GenerationRequest) -> float:
        return 0.25 if "mountains" in request.messages[1].text else 0.0

    cold = measured(lambda: Slower(mountains_s)).cold
    more = cold.together.ratio - 1
    assert more == pytest.approx(3 * 0.25 / 2 / (3 * cold.together.predicted_s), rel=0.01)
    assert cold.together.ratio_high - cold.together.ratio == pytest.approx(1.837 * more, rel=0.05)
    assert cold.together.ratio - cold.together.ratio_low == pytest.approx(1.837 * more, rel=0.05)
    spread_s = cold.c_baseline_s_high - cold.c_baseline_s
    assert spread_s == pytest.approx(1.837 * 3 * 0.25 / 2, rel=0.05)


def test_what_the_first_dialogue_warms_up_is_not_counted() -> None:
    waits = iter([5.0])
    told = measured(lambda: Slower(lambda _: next(waits, 0.0)))
    assert told == measured(emulated())


def test_the_baseline_gives_back_what_was_measured() -> None:
    found = measured(emulated()).baseline()
    turns = talked(("What is tacking?", "Is it slow?"), keep=True)
    for turn in turns:
        spent = sum(report.agent_us for report in turn.phases)
        assert baseline_us(turn.phases, found) == pytest.approx(spent, rel=0.01)


def test_revisions_are_phases_of_their_own() -> None:
    app = settings(verdict=REJECTED)
    told = measured(emulated(verdict=REJECTED), app=app)
    assert told.kept.phases[Phase.REVISE].phases == told.kept.turns
    assert told.kept.phases[Phase.CHECK].phases == 2 * told.kept.turns


def test_two_agents_are_measured_as_two() -> None:
    app = check({"engine": {"kind": "emulated"}, "agents": {"checker": None}})
    assert set(measured(emulated(), app=app).kept.phases) == {Phase.PLAN, Phase.RESPOND}


def test_nothing_of_one_dialogue_is_found_by_the_next() -> None:
    """Not even of the same one, held again; within one, what was kept is found."""
    first, second = talked(("What is tacking?", "Is it slow?"), keep=True, times=3)
    assert first.phases[0].cached_tokens == 0
    assert all(report.cached_tokens > 0 for report in (*first.phases[1:], *second.phases))


def test_where_nothing_is_kept_nothing_is_found() -> None:
    turns = talked(("What is tacking?", "Is it slow?"), keep=False, times=2)
    assert [report.cached_tokens for turn in turns for report in turn.phases] == [0] * 6


def test_prompts_are_the_services_but_for_the_mark() -> None:
    """A mark is one word more, whichever way a dialogue is held."""
    (kept,), (cold,) = (talked(("What is tacking?",), keep=keep) for keep in (True, False))
    assert [one.prompt_tokens for one in kept.phases] == [one.prompt_tokens for one in cold.phases]
    assert kept.text == cold.text


def test_the_order_is_shuffled_by_the_seed() -> None:
    def asked(seed: int) -> list[str]:
        said: list[str] = []

        class Hearing(EmulatedEngine):
            def generate(self, request: GenerationRequest) -> AsyncGenerator[Chunk]:
                said.append(request.messages[1].text)
                return super().generate(request)

        plan = Plan(dialogues=3, repeats=2, turns=1, seed=seed)
        measured(lambda: Hearing(EmulatedSettings(), LoopClock()), plan)
        return said

    one, other = asked(1), asked(2)
    assert one == asked(1)
    assert one != other
    assert sorted(one) == sorted(other)


def test_a_script_predicts_nothing_and_passes_for_no_machine() -> None:
    engine = {
        "default": {"reply": "Aye.", "delay_ms": 25.0},
        "verdicts": ['{"accept": true, "score": 9, "reason": "ok"}'],
    }
    told = measured(lambda: ScriptedEngine(ScriptedSettings.model_validate(engine), LoopClock()))
    assert told.emulated
    assert told.kept.together.ratio is None
    assert told.c_baseline_s == pytest.approx(0.075)
    turns = talked(("What is tacking?",), keep=True)
    assert baseline_us(turns[0].phases, told.baseline()) == 75_000


@pytest.mark.parametrize(
    ("plan", "why"),
    [
        ({"dialogues": 0}, "0 dialogues of 2 turns"),
        ({"repeats": 0}, "at least 1"),
        ({"turns": -1}, "at least 1"),
        ({"dialogues": 1, "repeats": 1}, "one run has no interval"),
    ],
)
def test_a_plan_that_could_tell_nothing_is_refused(plan: dict[str, int], why: str) -> None:
    with pytest.raises(BadRequest, match=why):
        Plan(**plan)


def test_the_engine_is_stopped_when_a_dialogue_fails() -> None:
    engine = EmulatedEngine(EmulatedSettings(context_tokens=16), LoopClock())
    with pytest.raises(BadRequest, match="context"):
        measured(lambda: engine)
    with pytest.raises(Exception, match="was stopped"):
        engine.check()
