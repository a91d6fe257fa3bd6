"""Stories of replicas are told in a time that jumps; the HTTP door's have clocks of their own."""

import asyncio
from collections.abc import Callable, Mapping

import pytest

from tests.jumping import JumpingLoop


def pytest_asyncio_loop_factories(
    item: pytest.Item,
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    if "http" in item.path.parts:
        return {"real": asyncio.new_event_loop}
    return {"jumping": JumpingLoop}
