"""How the picture of `coordsvc top` looks in a terminal."""

from rich.columns import Columns
from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from coordsvc.cli.picture import Picture
from coordsvc.cli.show import milliseconds

BAR = 24
"""Characters of the longest bar: two tables beside each other fit a terminal of 120."""
NO_VALUE = "-"
C_COORD_LIMIT_S = 0.5
"""C_coord at which placement groups grow."""
SILENT_S = 30.0
"""The allocator tells of itself every second or so; after this long an alert says it is down."""
COLOURS = ("green", "yellow", "red")
STATE_COLOURS = {
    "computing": "green",
    "held": "yellow",
    "blocked": "red",
    "stranded": "magenta",
    "idle": "dim",
}


def view(seen: Picture, url: str, away: str | None = None) -> RenderableType:
    """Return the whole picture; `away` says why it is not a new one."""
    head = Text(f"{url}  over {seen['seconds']:.1f} s", style="dim")
    if away:
        head = Text(f"AWAY: {away}; what follows was so before", style="bold red")
    return Group(
        head,
        _summary(seen),
        Columns([_parts(seen), _states(seen)], padding=(0, 2)),
        _agents(seen),
        Columns([_offers(seen), _service(seen), _allocator(seen)], padding=(0, 2)),
    )


def nothing_yet(url: str, away: str | None) -> RenderableType:
    """Return what is shown before two readings are in hand."""
    return Panel(Text(f"AWAY: {away}" if away else f"reading {url}"), title="coordsvc top")


def _summary(seen: Picture) -> RenderableType:
    turns = seen["turns"]
    table = Table("turns of", "p50", "p95", "p99", "C_coord", "its p95", title="Turns")
    table.add_row("all", *_times(turns, turns["target_s"]))
    for mix, times in seen["mixes"].items():
        table.add_row(mix, *_times(times, turns["target_s"]))
    said = Table.grid(padding=(0, 2))
    per_s = ", ".join(f"{name} {rate:.1f}/s" for name, rate in turns["per_s"].items() if rate)
    said.add_row("turns", per_s or "nobody talks")
    said.add_row("late", f"{_share(turns['late'])} took over {milliseconds(turns['target_s'])}")
    said.add_row("early warning", _warning(seen["warning"]))
    return Columns([table, said], padding=(0, 2))


def _times(times: Picture, target_s: float) -> list[Text | str]:
    return [
        _time(times["p50_s"]),
        _judged(times["p95_s"], target_s),
        _time(times["p99_s"]),
        _judged(times["c_coord_mean_s"], C_COORD_LIMIT_S),
        _time(times["c_coord_p95_s"]),
    ]


def _warning(warning: Picture | None) -> Text:
    if warning is None:
        return Text("nothing to judge by yet", style="dim")
    return Text(warning["says"], style=COLOURS[warning["level"]])


def _parts(seen: Picture) -> Table:
    """Return C_coord by part, the largest first, as bars."""
    table = Table("part of C_coord", "a turn", "", title="Where a turn's time goes")
    parts = seen["c_coord_parts_s"] or {}
    most = max(parts.values(), default=0.0)
    for part, spent in sorted(parts.items(), key=lambda item: (-item[1], item[0])):
        if spent > 0:
            table.add_row(part, milliseconds(spent), _bar(spent, most))
    if not table.rows:
        table.add_row(NO_VALUE, NO_VALUE, "nobody talks")
    return table


def _states(seen: Picture) -> RenderableType:
    fleet = seen["fleet"]
    table = Table("accelerators are", "", "", title="What the fleet does")
    for state, share in (fleet["states"] or {}).items():
        table.add_row(state, _share(share), Text(_bar(share, 1.0), STATE_COLOURS.get(state, "")))
    table.add_section()
    rests_on = "calibrated" if fleet["calibrated"] else "predicted"
    table.add_row("S_measured", _number(fleet["s_measured"]), f"of {_number(fleet['ideal'])} ideal")
    table.add_row("of its ideal", _share(fleet["of_ideal"]), f"C_baseline is {rests_on}")
    table.add_row("S_scale", _number(fleet["s_scale"]), f"of {_number(fleet['accelerators'])}")
    table.add_row("C_coord_fleet", _time(fleet["c_coord_fleet_s"]), "a turn")
    return table


def _agents(seen: Picture) -> Table:
    """Return what each agent holds of each resource against what it wants."""
    resources = [name for name, amount in seen["capacity"].items() if amount > 0]
    columns = [f"{name} held/wanted" for name in resources]
    table = Table("agent", *columns, "waiting", "u_i", "share", title="alloc_i against demand")
    for agent, one in seen["agents"].items():
        pairs = [
            f"{_number(one['alloc'].get(name))} / {_number(one['demand'].get(name))}"
            for name in resources
        ]
        table.add_row(
            agent,
            *pairs,
            _whole(one["waiting"]),
            _number(one["utility"]),
            _share(one["dominant_share"]),
        )
    table.add_section()
    table.add_row("capacity", *(_number(seen["capacity"][name]) for name in resources))
    return table


def _offers(seen: Picture) -> Table:
    offers = seen["offers"]
    table = Table("offers", "", title="Offers")
    for state, rate in sorted(offers["ended_per_s"].items()):
        table.add_row(state, f"{rate:.1f}/s")
    for state, count in sorted(offers["open"].items()):
        table.add_row(f"{state} now", _whole(count))
    table.add_row("for one that worked", _number(offers["for_one_that_worked"]))
    table.add_row("wasted", _share(offers["wasted"]))
    table.add_row("phases waiting", _whole(offers["waiting"]))
    return table


def _service(seen: Picture) -> Table:
    table = Table("what", "", title="Placement groups and replicas")
    for state, count in sorted(seen["groups"].items()):
        table.add_row(f"groups {state}", _whole(count))
    for deployment, count in sorted(seen["replicas"].items()):
        table.add_row(deployment, _whole(count))
    scaling = seen["scaling"]
    if scaling is not None:
        bounds = f"{_whole(scaling.get('min'))} to {_whole(scaling.get('max'))}"
        table.add_row("engines wanted", f"{_whole(scaling['wanted'])} of {bounds}")
    return table


def _allocator(seen: Picture) -> Table:
    told = seen["allocator"]
    table = Table("allocator", "", title="Allocator")
    table.add_row("policy", told["policy"] or NO_VALUE)
    table.add_row("last word", _judged(told["silent_s"], SILENT_S))
    broken = told["broken_reservations"]
    table.add_row("broken reservations", Text(_whole(broken), style="bold red" if broken else ""))
    for name in ("epoch", "nodes", "draining", "refused_events", "gangs_waiting"):
        table.add_row(name.replace("_", " "), _whole(told[name]))
    table.add_row("decision log", f"lag {_whole(told['log_lag'])}, lost {_whole(told['log_lost'])}")
    return table


def _bar(amount: float, most: float) -> str:
    return "█" * round(BAR * amount / most) if most > 0 else ""


def _judged(amount_s: float | None, limit_s: float) -> Text:
    """Return an amount of time, red from its limit on."""
    over = amount_s is not None and amount_s > limit_s
    return Text(_time(amount_s), style="bold red" if over else "")


def _time(amount_s: float | None) -> str:
    return NO_VALUE if amount_s is None else milliseconds(amount_s)


def _share(share: float | None) -> str:
    return NO_VALUE if share is None else f"{share:.1%}"


def _number(amount: float | None) -> str:
    return NO_VALUE if amount is None else f"{amount:.2f}"


def _whole(amount: float | None) -> str:
    return NO_VALUE if amount is None else f"{amount:.0f}"
