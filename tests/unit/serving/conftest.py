"""Stories of replicas are told in a time that jumps; the HTTP door's have clocks of their own."""

import asyncio
from collections.abc import Callable, Mapping

import pytest

from tests.jumping import JumpingLoop

IN_THREADS = ("test_training_node",)
"""What trains does so in threads, for which no time jumps."""


def pytest_asyncio_loop_factories(
    item: pytest.Item,
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    if "http" in item.path.parts or item.path.stem in IN_THREADS:
        return {"real": asyncio.new_event_loop}
    return {"jumping": JumpingLoop}
