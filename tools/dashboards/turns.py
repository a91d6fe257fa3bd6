"""What a user feels, and where a turn's time went."""

from grafana_foundation_sdk.models.common import StackingMode

from dashboards.panels import NOT_THERE, Line, Panel, bars, chart, figure
from dashboards.promql import (
    AGENT,
    C_COORD,
    PARTS,
    TURNS,
    now,
    part_of,
    per_turn,
    quantile,
    rate,
)

TURN_TARGET_S = 0.25
"""The p95 of a turn, in seconds: docs/runbooks.md#targets says where else it stands."""
C_COORD_LIMIT_S = 0.5
"""C_coord at which placement groups grow, in seconds: the same."""
BUDGET = 0.05
"""Of all turns may be late: what a p95 leaves."""
RISKS = {0: "calm", 1: "watch", 2: "warning"}
QUANTILES = (0.5, 0.95, 0.99)
BURNS = ("5m", "30m", "1h", "6h")
LATE = "application:coordsvc_turns_late:ratio_rate"
APPLICATION = "{{application}}"


def objectives() -> list[Panel]:
    """Return the row that says whether all is well."""
    return [
        figure(
            "p95 of turns",
            "The time within which 95 of 100 turns are answered, by the agents that take part. "
            f"The target is {TURN_TARGET_S} s.",
            "s",
            (quantile(0.95, TURNS), "{{application}} {{mix}}"),
            limits=(0.2, TURN_TARGET_S),
        ),
        figure(
            "C_coord of a turn",
            "Mean of what is not model compute. Placement groups grow while it stays over "
            f"{C_COORD_LIMIT_S} s for want of capacity.",
            "s",
            (per_turn(f"{C_COORD}_sum"), "{{application}}"),
            limits=(0.25, C_COORD_LIMIT_S),
        ),
        figure(
            "Late turns",
            "Turns of the last hour that took longer than the target; 5 % may. From a recording "
            "rule.",
            "percentunit",
            (now(f"{LATE}1h"), APPLICATION),
            limits=(BUDGET / 2, BUDGET),
        ),
        figure(
            "Early warning",
            "What the collapse detector says: calm, watch, or warning that C_coord is about to "
            "cross its bound.",
            "none",
            (now("coordsvc_collapse_risk"), "{{application}}"),
            limits=(1, 2),
            none=NOT_THERE,
            words=RISKS,
        ),
        figure(
            "S_measured of its ideal",
            "What the fleet gets done, as a part of what it would if all accelerators computed "
            "all the time. Low without fault while there is little to do.",
            "percentunit",
            (
                part_of(now("coordsvc_s_measured"), now("coordsvc_s_measured_ideal")),
                "{{application}}",
            ),
        ),
        figure(
            "Turns not answered",
            "Of all turns, those that were refused, failed, gave up or lost their check.",
            "percentunit",
            (
                part_of(
                    rate("coordsvc_turns_total", only=('outcome!="answered"',)),
                    rate("coordsvc_turns_total"),
                ),
                "{{application}}",
            ),
            limits=(0.01, 0.05),
        ),
        chart(
            "Time of a turn",
            "Quantiles by the agents that take part; the dashed line is the target of the p95.",
            "s",
            *_quantiles(TURNS),
            limits=(TURN_TARGET_S,),
        ),
        chart(
            "C_coord of a turn over time",
            "Quantiles by the agents that take part; the dashed line is where placement groups "
            "grow.",
            "s",
            *_quantiles(C_COORD),
            limits=(C_COORD_LIMIT_S,),
        ),
        chart(
            "Burn rate of the p95 target",
            "How many times faster than allowed late turns come, over several windows. Alerts: "
            "14.4 over an hour or 6 over six hours wake somebody. From recording rules.",
            "none",
            *((f"{now(LATE + window)} / {BUDGET}", f"{APPLICATION} {window}") for window in BURNS),
            limits=(6, 14.4),
        ),
        chart(
            "Turns by how they ended",
            "Refused: the door was full. Gave up: answered without a verdict, in time. Failed: "
            "answered with an error.",
            "reqps",
            (rate("coordsvc_turns_total", "outcome"), "{{application}} {{outcome}}"),
            stacked=StackingMode.NORMAL,
        ),
    ]


def _quantiles(histogram: str) -> list[Line]:
    return [
        (quantile(q, histogram), f"{APPLICATION} {{{{mix}}}} p{q * 100:.0f}") for q in QUANTILES
    ]


def accounts() -> list[Panel]:
    """Return the row that says where a turn's time went."""
    return [
        chart(
            "C_coord of a turn by part",
            "Seconds of one turn, on the critical path. What makes each part grow is said in "
            "docs/concepts.md.",
            "s",
            (per_turn(PARTS, "part"), "{{application}} {{part}}"),
            stacked=StackingMode.NORMAL,
        ),
        chart(
            "C_coord of a turn by agent",
            "The same seconds by the agent whose phase they were spent in; without a name, by the "
            "turn itself.",
            "s",
            (per_turn(PARTS, "agent", only=(AGENT,)), "{{application}} {{agent}}"),
            stacked=StackingMode.NORMAL,
        ),
        chart(
            "C_coord of a turn by phase",
            "The same seconds by phase: plan, respond, check, revise; without a name, by the turn "
            "itself.",
            "s",
            (per_turn(PARTS, "phase", only=(AGENT,)), "{{application}} {{phase}}"),
            stacked=StackingMode.NORMAL,
        ),
        bars(
            "Parts now",
            "Seconds of one turn by part, over the last minutes.",
            "s",
            (per_turn(PARTS, "part"), "{{application}} {{part}}"),
        ),
        chart(
            "What a turn is made of",
            "Solo compute on the critical path (K) and C_coord: together the wall time.",
            "s",
            (per_turn("coordsvc_solo_seconds_total"), "{{application}} solo compute"),
            (per_turn(f"{C_COORD}_sum"), "{{application}} C_coord"),
            stacked=StackingMode.NORMAL,
        ),
        chart(
            "Engine time of a turn by agent and phase",
            "Raw engine time, work off the critical path and batching included.",
            "s",
            (
                per_turn("coordsvc_engine_seconds_total", "agent", "phase", only=(AGENT,)),
                "{{application}} {{agent}} {{phase}}",
            ),
            stacked=StackingMode.NORMAL,
        ),
        chart(
            "Tokens",
            "Read (prompt), of them found cached, and written (output), by agent.",
            "cps",
            (
                rate("coordsvc_tokens_total", "agent", "kind", only=(AGENT,)),
                "{{application}} {{agent}} {{kind}}",
            ),
        ),
    ]
