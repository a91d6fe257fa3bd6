"""What the accelerators do, what the scaling law says of it, and how many there are."""

from grafana_foundation_sdk.models.common import StackingMode

from dashboards.panels import NOBODY_TALKS, NOT_THERE, OFF, Panel, chart, figure
from dashboards.promql import now, part_of, rate
from dashboards.turns import C_COORD_LIMIT_S

SHARES = "coordsvc_share_seconds_total"
TOO_FEW_LOADS = "not enough loads yet"


def states() -> list[Panel]:
    """Return the row of the fleet's account."""
    return [
        chart(
            "Five states of the accelerators",
            "Of all accelerator time: computing is work; held and blocked are coordination; "
            "stranded is fragmentation; idle is nobody's want.",
            "percentunit",
            (
                f"{rate(SHARES, 'state')} / ignoring (state) group_left () ({rate(SHARES)} > 0)",
                "{{application}} {{state}}",
            ),
            none=NOT_THERE,
            stacked=StackingMode.NORMAL,
        ),
        chart(
            "S_measured against its ideal",
            "S_measured = C_baseline / (C_algo / S_scale + C_coord_fleet), over the last minute. "
            "The distance is what coordination and idleness cost.",
            "none",
            (now("coordsvc_s_measured"), "{{application}} S_measured"),
            (now("coordsvc_s_measured_ideal"), "{{application}} ideal"),
            (now("coordsvc_s_scale"), "{{application}} S_scale"),
            (now("coordsvc_accelerators"), "{{application}} accelerators"),
        ),
        chart(
            "Times of one turn, as the fleet sees them",
            "C_algo: accelerator time. C_coord_fleet: time that shares were kept from it. "
            "C_baseline: what one process at batch 1 takes.",
            "s",
            (now("coordsvc_c_algo_seconds"), "{{application}} C_algo"),
            (now("coordsvc_c_coord_fleet_seconds"), "{{application}} C_coord_fleet"),
            (now("coordsvc_c_baseline_seconds"), "{{application}} C_baseline"),
        ),
        figure(
            "The two books differ by",
            "Of accelerator time: the allocator's account against the engines' own. Some "
            "thousandths are late words.",
            "percentunit",
            (
                part_of(rate("coordsvc_fleet_remainder_seconds_total"), rate(SHARES)),
                "{{application}}",
            ),
            limits=(0.005, 0.01),
            none=NOT_THERE,
        ),
        figure(
            "C_baseline rests on",
            "What S_measured is compared with: `coordsvc calibrate`, or the engines' own "
            "prediction.",
            "none",
            (now("coordsvc_baseline_calibrated"), "{{application}}"),
            none=NOT_THERE,
            words={0: "prediction", 1: "calibration"},
        ),
        figure(
            "Batches",
            "Phases that engines run now, and requests that wait inside an engine for a place in a "
            "batch.",
            "none",
            (now("coordsvc_engine_running"), "{{application}} running"),
            (now("coordsvc_engine_waiting"), "{{application}} waiting"),
            none=NOT_THERE,
        ),
    ]


def law() -> list[Panel]:
    """Return the row of the scaling law and the early warning."""
    return [
        chart(
            "Universal Scalability Law",
            "Fitted to what was seen: sigma is contention, kappa is what agents say to each other. "
            "With kappa above 0 more agents are worse from some number on.",
            "none",
            (now("coordsvc_usl_sigma"), "{{application}} sigma"),
            (now("coordsvc_usl_kappa"), "{{application}} kappa"),
            none=TOO_FEW_LOADS,
        ),
        figure(
            "Best concurrency",
            "Turns under way at which the law says that most is done.",
            "none",
            (now("coordsvc_usl_best_concurrency"), "{{application}}"),
            none=TOO_FEW_LOADS,
        ),
        figure(
            "Time to cross",
            "Until C_coord crosses its bound, if it goes on as now.",
            "s",
            (now("coordsvc_collapse_time_to_cross_seconds"), "{{application}}"),
            none="does not grow",
        ),
        chart(
            "Signs of collapse",
            "Which of the detector's signs speak; two or more make a warning. What each means: "
            "docs/runbooks.md.",
            "none",
            (now("coordsvc_collapse_sign", "sign"), "{{application}} {{sign}}"),
            none=NOT_THERE,
        ),
    ]


def size() -> list[Panel]:
    """Return the row of replicas, placement groups and autoscaling."""
    return [
        chart(
            "Replicas",
            "That run, by deployment.",
            "none",
            (now("coordsvc_replicas", "deployment"), "{{application}} {{deployment}}"),
            none=NOT_THERE,
        ),
        chart(
            "Placement groups",
            "Of the engines' replicas. Pending ones ask for a machine.",
            "none",
            (now("coordsvc_placement_groups", "state"), "{{application}} {{state}}"),
            (now("coordsvc_nodes"), "{{application}} in the pool"),
            (now("coordsvc_nodes_draining"), "{{application}} draining"),
            none=NOT_THERE,
        ),
        chart(
            "Autoscaling",
            "Engine replicas that are wanted, between their bounds.",
            "none",
            (now("coordsvc_scaling_wanted"), "{{application}} wanted"),
            (now("coordsvc_scaling_bound", "bound"), "{{application}} {{bound}}"),
            none=OFF,
        ),
        chart(
            "C_coord that autoscaling goes by",
            "Mean over its window; the dashed line is where groups grow, if capacity is what "
            "lacks.",
            "s",
            (now("coordsvc_scaling_c_coord_seconds"), "{{application}}"),
            limits=(C_COORD_LIMIT_S,),
            none=OFF,
        ),
        chart(
            "Decisions of autoscaling",
            "Out, in, or hold, with the reason.",
            "ops",
            (
                rate("coordsvc_scaling_decisions_total", "direction", "reason"),
                "{{application}} {{direction}}: {{reason}}",
            ),
            none=OFF,
        ),
    ]


def doors() -> list[Panel]:
    """Return the row of who knocked, and who was let in."""
    return [
        chart(
            "Requests refused",
            "By reason, before they became turns.",
            "reqps",
            (rate("coordsvc_requests_refused_total", "reason"), "{{application}} {{reason}}"),
            none="none refused",
        ),
        chart(
            "Turns by tenant",
            "And how they ended, where keys name tenants.",
            "reqps",
            (
                rate("coordsvc_tenant_turns_total", "tenant", "outcome"),
                "{{application}} {{tenant}} {{outcome}}",
            ),
            none=NOBODY_TALKS,
        ),
        chart(
            "Turns refused",
            "Of all turns, those that found the door full.",
            "percentunit",
            (
                part_of(
                    rate("coordsvc_turns_total", only=('outcome="refused"',)),
                    rate("coordsvc_turns_total"),
                ),
                "{{application}}",
            ),
            limits=(0.05,),
        ),
    ]
