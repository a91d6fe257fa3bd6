"""One run, cut into windows as the service's instruments cut its life.

The windows say what a service could say of itself, and nothing of what is to come; whoever takes
them one by one may turn the world's dials in between.
"""

from collections.abc import Callable, Iterator

from coordsvc.core.fleet import States, measures
from coordsvc.core.units import Instant, Micros
from coordsvc.core.window import Window
from coordsvc.simulation.results import percentile
from coordsvc.simulation.turns import LiveTurn
from coordsvc.simulation.world import World

Dial = Callable[[World], None]
"""Told before each window, with the world at the instant that it begins."""


def windows(world: World, lasts_us: Micros, slow_us: Micros, dial: Dial) -> Iterator[Window]:
    """Yield the run's windows of `lasts_us`, up to the last whole one.

    `slow_us`: the C_coord of a turn above which it is counted as slow. Turns that wait when the
    run ends are left waiting.
    """
    world.begin()
    sampler = _Sampler(world, lasts_us, slow_us)
    for n in range(world.settings.lasts_us // lasts_us):
        dial(world)
        world.loop.run(Instant((n + 1) * lasts_us))
        yield sampler.window()


class _Sampler:
    """Tells each window from the sums at its ends."""

    def __init__(self, world: World, lasts_us: Micros, slow_us: Micros) -> None:
        self._world = world
        self._lasts_us = lasts_us
        self._slow_us = slow_us
        self._began = Instant(0)
        self._under_way: list[LiveTurn] = []
        self._seen = 0
        """Turns that had arrived."""
        self._states = States()
        self._sums = (0, 0, 0, 0)

    def window(self) -> Window:
        """Return the window that ends now."""
        world, began, lasts_us = self._world, self._began, self._lasts_us
        now = Instant(began + lasts_us)
        there = self._under_way + world.turns[self._seen :]
        ended = [turn for turn in there if turn.ended is not None]
        under_way = sum((turn.ended or now) - max(turn.arrived, began) for turn in there)
        c_coord = [_c_coord(turn) for turn in ended]
        states, _ = world.book.snapshot(now)
        sums = _sums(world)
        made, accepted, unused, retries = (
            new - old for new, old in zip(sums, self._sums, strict=True)
        )
        fleet = measures(
            states.minus(self._states),
            lasts_us=lasts_us,
            turns=len(ended),
            baseline_us=sum(turn.turn.cost_us for turn in ended),
            whole=1,
        )
        self._under_way = [turn for turn in there if turn.ended is None]
        self._seen, self._began, self._states, self._sums = len(world.turns), now, states, sums
        return Window(
            began=began,
            lasts_us=lasts_us,
            turns=len(ended),
            concurrency=under_way / lasts_us,
            c_coord_us=_mean(c_coord),
            capacity_us=_mean([_for_capacity(turn) for turn in ended]),
            c_algo_us=fleet.c_algo_us,
            c_baseline_us=fleet.c_baseline_us,
            s_scale=fleet.s_scale,
            accelerators=fleet.accelerators,
            p95_us=percentile(sorted(map(_latency, ended)), len(ended), 95),
            turns_slow=sum(1 for one in c_coord if one > self._slow_us),
            offers_made=made,
            offers_accepted=accepted,
            offers_unused=unused,
            retries=retries,
        )


def _sums(world: World) -> tuple[int, int, int, int]:
    """Return offers made, accepted and not used, and attempts that were lost, since the start."""
    allocator = world.allocator
    return allocator.offers_made, world.attempts, allocator.offers_unused, world.attempts_lost


def _latency(turn: LiveTurn) -> int:
    assert turn.ended is not None
    return turn.ended - turn.arrived


def _c_coord(turn: LiveTurn) -> int:
    """Return what is not the turn's own work, on a node of speed 1 that has nothing else to do."""
    return _latency(turn) - turn.turn.cost_us


def _for_capacity(turn: LiveTurn) -> int:
    """Return its wait for offers, and the engines' time above its cost: contention."""
    return turn.waited_us + max(0, turn.attained_us - turn.turn.cost_us)


def _mean(values: list[int]) -> float | None:
    return sum(values) / len(values) if values else None
