"""That each port has one fake, and that it can be called as the port is."""

import inspect
from typing import Any, Protocol, get_type_hints

import pytest

from coordsvc import ports
from coordsvc.serving import pool
from tests import fakes, jumping
from tests.unit.serving.http.fakes import FakeTurns

FAKES: dict[str, type[Any]] = {
    "Clock": jumping.LoopClock,
    "Engine": fakes.FakeEngine,
    "Engines": fakes.FakeEngines,
    "OfferDesk": fakes.FakeDesk,
    "Agents": fakes.FakeAgents,
    "Trainee": fakes.FakeTrainee,
    "Trainers": fakes.FakeTrainers,
    "TurnRecorder": fakes.FakeRecorder,
    "TurnTracer": fakes.FakeTracer,
    "Turns": FakeTurns,
    "Pool": fakes.FakePool,
    "EngineLink": fakes.FakeLink,
}

PORTS = {
    name: found
    for module in (ports, pool)
    for name, found in vars(module).items()
    if isinstance(found, type)
    and Protocol in found.__bases__
    and found.__module__ == module.__name__
}


def _methods(port: type[Any]) -> list[str]:
    return [name for name in vars(port) if not name.startswith("_")]


def test_every_port_has_a_fake() -> None:
    assert set(FAKES) == set(PORTS)


@pytest.mark.parametrize("name", sorted(PORTS))
def test_a_fake_is_called_as_its_port_is(name: str) -> None:
    port, fake = PORTS[name], FAKES[name]
    assert _methods(port)
    for method in _methods(port):
        real, played = getattr(port, method), getattr(fake, method)
        assert inspect.signature(real) == inspect.signature(played), method
        assert get_type_hints(real) == get_type_hints(played), method
        waits = inspect.iscoroutinefunction(real)
        assert waits == inspect.iscoroutinefunction(played), method
