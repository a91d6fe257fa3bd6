"""The five tests of the message schedule's claim, each from the study's rows. Pure."""

from collections.abc import Sequence
from dataclasses import replace

from coordsvc.experiments.statistics import Interval, difference, mean
from coordsvc.experiments.study import Finding, Row

LOW, CLAIM, HIGH = 0.22, 0.32, 0.42
"""Of D: what the claim is taken to be, give or take."""
BAND = 0.05
"""Of GPU use, either way."""
BASE, FREE = "base", "messages_free"
DECIDING = "offers"
"""The baseline of the hypothesis; against others it is shown only."""


def five(rows: Sequence[Row]) -> tuple[Finding, ...]:
    """Return them: each met, not met, or open."""
    base = chosen(rows, BASE)
    executed = interval(base, "executed_d")
    return (_within(executed), _honest(rows), _messages(rows), _oldest(base), _table(rows))


def chosen(rows: Sequence[Row], variant: str, *, baseline: str = DECIDING) -> list[Row]:
    """Return the rows that intervals are drawn from, of a variant."""
    return [
        row
        for row in rows
        if row["variant"] == variant
        and row["baseline"] == baseline
        and row["solver"] == "cp_sat"
        and not row["table"]
    ]


def known(rows: Sequence[Row], name: str) -> list[float]:
    """Return a column, without the rows in which there was nothing to lessen."""
    found = (row[name] for row in rows)
    return [float(value) for value in found if isinstance(value, int | float)]


def interval(rows: Sequence[Row], name: str) -> Interval | None:
    """Return a column's mean; None of fewer than two rows in which there was D."""
    values = known(rows, name)
    return mean(values) if len(values) > 1 else None


def _finding(name: str, found: Interval | None, wanted: str, says: str) -> Finding:
    """Return a finding that nothing is known of yet but its interval."""
    if found is None:
        return Finding(name=name, value=None, wanted=wanted, says=says)
    return Finding(
        name=name, value=found.value, low=found.low, high=found.high, wanted=wanted, says=says
    )


def _within(found: Interval | None) -> Finding:
    """Test 1: the interval lies within the claim's; it is not met where it excludes 32 %."""
    says = "executed D against DRF offers"
    if found is not None and (found.low > CLAIM or found.high < CLAIM):
        says += ": the claim is " + ("exceeded" if found.low > CLAIM else "not matched")
    made = _finding("claim", found, f"{LOW} to {HIGH}", says)
    if found is None:
        return made
    if found.low >= LOW and found.high <= HIGH:
        return replace(made, met=True)
    return replace(made, met=False) if not found.low <= CLAIM <= found.high else made


def _honest(rows: Sequence[Row]) -> Finding:
    """Test 2: no plan breaks a limit, leaves the band of GPU use or leaves an agent worse off."""
    ours = [row for row in rows if row["solver"] == "cp_sat"]
    broken = sum(bool(row["faults"]) or bool(row["worse_off"]) or not _in_band(row) for row in ours)
    return Finding(
        name="honest_plans",
        value=float(broken) if ours else None,
        wanted="0",
        met=broken == 0 if ours else None,
        says="plans that break a limit, the band of GPU use, or leave an agent worse off",
    )


def _messages(rows: Sequence[Row]) -> Finding:
    """Test 3: with no limit on messages D is another, or the messages have no part in it."""
    pairs = _pairs(chosen(rows, BASE), chosen(rows, FREE))
    found = difference(*zip(*pairs, strict=True)) if len(pairs) > 1 else None
    wanted = "above 0"
    made = _finding("messages_matter", found, wanted, "executed D, less that without their limit")
    return made if found is None else replace(made, met=_above_0(found))


def _oldest(base: Sequence[Row]) -> Finding:
    """Test 4: the plan does better than oldest-round-first, which plans nothing."""
    both = [
        (ours, theirs)
        for row in base
        for ours, theirs in [(row["executed_d"], row["oldest_d"])]
        if isinstance(ours, float) and isinstance(theirs, float)
    ]
    found = difference(*zip(*both, strict=True)) if len(both) > 1 else None
    says = "executed D, less that of oldest-round-first"
    made = _finding("better_than_oldest", found, "above 0", says)
    return made if found is None else replace(made, met=_above_0(found))


def _table(rows: Sequence[Row]) -> Finding:
    """Test 5: on no seed of the table D is 0 or less, planned or executed."""
    ours = [
        row
        for row in rows
        if row["table"]
        and row["variant"] == BASE
        and row["baseline"] == DECIDING
        and row["solver"] == "cp_sat"
        and _in_band(row)
    ]
    found = [*known(ours, "planned_d"), *known(ours, "executed_d")]
    return Finding(
        name="table_seeds",
        value=min(found, default=None),
        wanted="above 0",
        met=min(found) > 0 if found else None,
        says="least D of the table's seeds, planned or executed",
    )


def _pairs(ours: Sequence[Row], theirs: Sequence[Row]) -> list[tuple[float, float]]:
    """Return executed D of the same seeds."""
    other = {row["seed"]: row["executed_d"] for row in theirs}
    return [
        (value, against)
        for row in ours
        for value, against in [(row["executed_d"], other.get(row["seed"]))]
        if isinstance(value, float) and isinstance(against, float)
    ]


def _above_0(found: Interval) -> bool | None:
    if found.low > 0:
        return True
    return False if found.high <= 0 else None


def _in_band(row: Row) -> bool:
    use = row["use"]
    return isinstance(use, float) and 1 - BAND - 1e-9 <= use <= 1 + BAND + 1e-9
