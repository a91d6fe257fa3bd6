"""The main dashboard: from the question whether all is well down to the single door."""

from itertools import count

from grafana_foundation_sdk.builders import dashboard
from grafana_foundation_sdk.models.dashboard import (
    DashboardCursorSync,
    VariableOption,
    VariableRefresh,
    VariableSort,
)

from dashboards import fleet, pool, turns
from dashboards.panels import SOURCE
from dashboards.promql import SCOPE, of

UID = "coordsvc-overview"
TITLE = "coordsvc: coordination"
THERE = "coordsvc_instruments_start_time_seconds"
"""A metric that every application has, always."""
ROWS = {
    "Is all well?": turns.objectives,
    "C_coord: where a turn's time goes": turns.accounts,
    "Offers": pool.offers,
    "alloc_i, demand and u_i": pool.shares,
    "S_measured: what the accelerators do": fleet.states,
    "Scaling law and early warning": fleet.law,
    "Placement groups, replicas and autoscaling": fleet.size,
    "Health of the allocator": pool.health,
    "Doors and tenants": fleet.doors,
}


def overview() -> dashboard.Dashboard:
    """Return the dashboard, ready to be built."""
    board = (
        dashboard.Dashboard(TITLE)
        .uid(UID)
        .description("Written by tools/grafana.py: change the code, not this.")
        .tags(["coordsvc", "ray", "llm"])
        .timezone("browser")
        .time("now-1h", "now")
        .refresh("30s")
        .tooltip(DashboardCursorSync.CROSSHAIR)
        .readonly()
        .with_variable(
            dashboard.DatasourceVariable("datasource").label("Data source").type("prometheus")
        )
        .annotation(_marks("Instruments began anew", THERE, "orange"))
        .annotation(_marks("Another allocator", "coordsvc_allocator_epoch", "red"))
    )
    for number, label in enumerate(SCOPE):
        board.with_variable(_variable(label, THERE, SCOPE[:number]))
    board.with_variable(_variable("agent", "coordsvc_alloc", SCOPE))
    numbers = count(1)
    for title, panels in ROWS.items():
        board.with_row(dashboard.Row(title).id(next(numbers)))
        for panel in panels():
            board.with_panel(panel.id(next(numbers)))
    return board


def _variable(label: str, metric: str, within: tuple[str, ...]) -> dashboard.QueryVariable:
    """Return a choice of a label's values, among the choices before it.

    All of them is `.*` and not a list: so series without the label are there as well. A job is
    always there, and the linter of dashboards asks for `.+`.
    """
    filters = ", ".join(f'{name}=~"${name}"' for name in within)
    return (
        dashboard.QueryVariable(label)
        .label(label.title())
        .query(f"label_values({metric}{{{filters}}}, {label})")
        .datasource(SOURCE)
        .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(VariableSort.ALPHABETICAL_ASC)
        .multi(True)  # noqa: FBT003 - the builder's own way
        .include_all(True)  # noqa: FBT003 - the same
        .all_value(".+" if label == "job" else ".*")
        .current(VariableOption(selected=True, text=["All"], value=["$__all"]))
    )


def _marks(name: str, gauge: str, colour: str) -> dashboard.AnnotationQuery:
    """Return marks on all panels where a gauge changed."""
    return (
        dashboard.AnnotationQuery()
        .name(name)
        .datasource(SOURCE)
        .enable(True)  # noqa: FBT003 - the builder's own way
        .icon_color(colour)
        .expr(f"changes({of(gauge)}[$__interval]) > 0")
    )
