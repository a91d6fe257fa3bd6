"""How a turn's account looks in a terminal."""

from typing import Any

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from coordsvc.core.accounting import PART_MEANS

SHOWN_S = 0.000_05
"""Parts smaller than this are left out of the one-line form."""


def milliseconds(amount_s: float) -> str:
    """Return an amount of time as people read it."""
    return f"{amount_s * 1_000:,.1f} ms" if amount_s < 1 else f"{amount_s:,.2f} s"


def one_line(account: dict[str, Any]) -> Text:
    """Return the account in one line: the whole, the compute, and the largest parts."""
    parts = sorted(account["parts_s"].items(), key=lambda part: -part[1])
    telling = [f"{name} {milliseconds(spent)}" for name, spent in parts[:3] if spent > SHOWN_S]
    line = Text(style="dim")
    line.append(f"{milliseconds(account['wall_s'])} = ")
    line.append(f"compute {milliseconds(account['solo_s'])}")
    line.append(f" + C_coord {milliseconds(account['c_coord_s'])}", style="bold")
    line.append(f" ({', '.join(telling)})" if telling else "")
    return line


def table(account: dict[str, Any]) -> RenderableType:
    """Return the whole account: every part, then every phase."""
    wall = account["wall_s"]
    parts = Table("part", "time", "share", "what it is", title="Where the turn's time went")
    parts.add_row("compute", milliseconds(account["solo_s"]), _share(account["solo_s"], wall),
                  "solo compute on the critical path (K)")  # fmt: skip
    for name, spent in account["parts_s"].items():
        means = PART_MEANS.get(name, "")
        parts.add_row(name, milliseconds(spent), _share(spent, wall), means)
    parts.add_section()
    parts.add_row("whole turn", milliseconds(wall), _share(wall, wall),
                  f"C_coord is {milliseconds(account['c_coord_s'])} of it")  # fmt: skip
    phases = Table("phase", "agent", "node", "tokens in (cached)", "out", "engine", "offer wait")
    for phase in account["phases"]:
        engine_s = phase["queue_s"] + phase["compute_s"]
        phases.add_row(
            phase["phase"],
            phase["agent"],
            phase["node"] or "-",
            f"{phase['prompt_tokens']} ({phase['cached_tokens']})",
            str(phase["output_tokens"]),
            milliseconds(engine_s),
            milliseconds(phase["offer_wait_s"]),
        )
    return Group(parts, phases)


def steps(console: Console) -> Any:
    """Return a teller of long steps that says since when."""
    started = console.get_time()

    def say(step: str) -> None:
        since = f"{console.get_time() - started:6.1f} s"
        line = Text.assemble((since, "dim"), f"  {step}")  # a step's brackets are no markup
        console.print(line, soft_wrap=True)

    return say


def _share(part: float, whole: float) -> str:
    return f"{part / whole:6.1%}" if whole > 0 else ""
