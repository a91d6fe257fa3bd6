"""Runs a solver in a process of its own.

OR-tools and highspy bring different builds of the HiGHS library under one name, and whichever of
them a process loads second fails. PuLP loads highspy as well where it is installed.
"""

from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import ParamSpec, TypeVar

Told = ParamSpec("Told")
Found = TypeVar("Found")


def apart(solve: Callable[Told, Found], *told: Told.args, **named: Told.kwargs) -> Found:
    """Return what a module's function returns there; what it raises is raised here."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as alone:
        return alone.submit(solve, *told, **named).result()
