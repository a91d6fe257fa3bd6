"""Stories of agents are told in a time that jumps."""

from collections.abc import Callable, Mapping

import pytest

from tests.jumping import JumpingLoop


def pytest_asyncio_loop_factories(item: pytest.Item) -> Mapping[str, Callable[[], JumpingLoop]]:
    return {"jumping": JumpingLoop}
