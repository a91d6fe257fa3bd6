"""`pytest tests/scenarios --rewrite` blesses what the allocator now says; read the diff first."""

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--rewrite", action="store_true", help="rewrite the expected output in place")
