"""Who is offered what, who holds what, and how the allocator does."""

from grafana_foundation_sdk.models.common import StackingMode

from dashboards.panels import NOT_THERE, OFF, Panel, chart, figure
from dashboards.promql import AGENT, by, now, of, or_none, part_of, rate

OFFERS = "coordsvc_offers_total"
USELESS = 'state=~"declined|expired"'


def offers() -> list[Panel]:
    """Return the row of offers."""
    return [
        chart(
            "Offers that ended, by state",
            "Released is the good end: work ran under it. Expired and declined are held room that "
            "nobody used; harmless while nobody waits.",
            "ops",
            (rate(OFFERS, "state", only=(AGENT,)), "{{application}} {{state}}"),
            stacked=StackingMode.NORMAL,
        ),
        chart(
            "Offers for one that did work",
            "All offers that ended, for each that was released. One is best; a rise under load is "
            "an early sign of collapse.",
            "none",
            (
                part_of(rate(OFFERS), rate(OFFERS, only=('state="released"',))),
                "{{application}}",
            ),
        ),
        chart(
            "Offers that did nobody any good",
            "Declined or expired, as a share of those that ended, by agent.",
            "percentunit",
            (
                part_of(
                    or_none(
                        rate(OFFERS, "agent", only=(AGENT, USELESS)),
                        rate(OFFERS, "agent", only=(AGENT,)),
                    ),
                    rate(OFFERS, "agent", only=(AGENT,)),
                ),
                "{{application}} {{agent}}",
            ),
            limits=(0.5,),
        ),
        chart(
            "Offers that hold resources",
            "By agent and state: issued is a reservation, accepted is work.",
            "none",
            (
                now("coordsvc_offers_open", "agent", "state", only=(AGENT,)),
                "{{application}} {{agent}} {{state}}",
            ),
            none=NOT_THERE,
        ),
        chart(
            "Phases that wait for an offer",
            "By agent. `coordsvc explain` says of one that waits why, and what would change it.",
            "none",
            (now("coordsvc_phases_waiting", "agent", only=(AGENT,)), "{{application}} {{agent}}"),
            none=NOT_THERE,
        ),
        chart(
            "Filters, gangs, preemptions",
            "Nodes that desks refuse for now; gangs that wait to be complete; grants ended in this "
            "epoch for somebody entitled to them.",
            "none",
            (
                f"sum {by()} ({of('coordsvc_filters_active', AGENT)})",
                "{{application}} filters",
            ),
            (now("coordsvc_gangs_waiting"), "{{application}} gangs waiting"),
            (now("coordsvc_preempted"), "{{application}} preempted"),
            none=NOT_THERE,
        ),
    ]


def shares() -> list[Panel]:
    """Return the row of what agents hold, want, and what it is worth to them."""
    return [
        chart(
            "alloc_i",
            "What each agent holds of a resource, offers included: gpus, cpus, Gb/s.",
            "none",
            (
                now("coordsvc_alloc", "agent", "resource", only=(AGENT,)),
                "{{application}} {{agent}} {{resource}}",
            ),
            none=NOT_THERE,
        ),
        chart(
            "Demand",
            "What each agent holds and what its waiting phases lack: above alloc_i, somebody "
            "waits.",
            "none",
            (
                now("coordsvc_demand", "agent", "resource", only=(AGENT,)),
                "{{application}} {{agent}} {{resource}}",
            ),
            none=NOT_THERE,
        ),
        chart(
            "Allocated and wanted, of capacity",
            "Of each resource: what all agents hold, and what they want. Wanted above 1 is more "
            "than there is.",
            "percentunit",
            *(
                (
                    part_of(
                        f"sum {by('resource')} ({of(metric)})",
                        now("coordsvc_capacity", "resource"),
                    ),
                    f"{{{{application}}}} {{{{resource}}}} {said}",
                )
                for metric, said in (("coordsvc_alloc", "held"), ("coordsvc_demand", "wanted"))
            ),
            limits=(1,),
            none=NOT_THERE,
        ),
        chart(
            "u_i",
            "The utility of what each agent holds, in the unit of its policy; the allocator makes "
            "their sum large.",
            "none",
            (now("coordsvc_utility", "agent", only=(AGENT,)), "{{application}} {{agent}}"),
            none="the policy knows no utilities",
        ),
        chart(
            "Dominant shares",
            "The largest fraction of any one resource of the pool that each agent holds.",
            "percentunit",
            (now("coordsvc_dominant_share", "agent", only=(AGENT,)), "{{application}} {{agent}}"),
            none=NOT_THERE,
        ),
        chart(
            "Shares of tenants",
            "What each tenant holds of a resource, where keys name tenants.",
            "none",
            (
                now("coordsvc_tenant_alloc", "tenant", "resource"),
                "{{application}} {{tenant}} {{resource}}",
            ),
            none=OFF,
        ),
    ]


def health() -> list[Panel]:
    """Return the row of the allocator and the instruments themselves."""
    said = "coordsvc_allocator_last_word_seconds"
    began = "coordsvc_instruments_start_time_seconds"
    return [
        figure(
            "Silence of the allocator",
            "Since it last told of itself, which it does every second or so. Desks go on with what "
            "they hold meanwhile.",
            "s",
            (f"time() - {now(said)}", "{{application}}"),
            limits=(10, 30),
            none="no instruments",
        ),
        figure(
            "Epoch",
            "How many lives the allocator has had. It rises when the allocator dies.",
            "none",
            (now("coordsvc_allocator_epoch"), "{{application}}"),
            none=NOT_THERE,
        ),
        figure(
            "Broken reservations",
            "Valid grants that an engine refused for lack of room. Always 0, or something is "
            "wrong.",
            "none",
            (now("coordsvc_broken_reservations"), "{{application}}"),
            limits=(1,),
            none=NOT_THERE,
        ),
        figure(
            "Policy",
            "By what the allocator makes offers.",
            "none",
            (f"{now('coordsvc_policy', 'policy')} == 1", "{{application}} {{policy}}"),
            none=NOT_THERE,
            words={1: "in use"},
        ),
        figure(
            "Instruments since",
            "How long these metrics have been counted. What happened before a new beginning is "
            "not in them.",
            "s",
            (f"time() - {now(began)}", "{{application}}"),
            none="no instruments",
        ),
        figure(
            "Turns nobody told of",
            "Answered while the instruments were away, in the time shown.",
            "none",
            (
                f"sum {by()} (increase({of('coordsvc_turns_untold_total')}[$__range]))",
                "{{application}}",
            ),
            limits=(1,),
            none=NOT_THERE,
        ),
        chart(
            "Decision log",
            "Entries that wait to be written, and events that were left out in this epoch.",
            "none",
            (now("coordsvc_decision_log_lag"), "{{application}} waiting"),
            (now("coordsvc_decision_log_lost"), "{{application}} lost"),
            (now("coordsvc_decision_log_lines"), "{{application}} written"),
            none=OFF,
        ),
        chart(
            "Messages refused",
            "Late, repeated or unlawful messages that the allocator refused in this epoch. Some "
            "are normal.",
            "none",
            (now("coordsvc_allocator_refused_events"), "{{application}}"),
            none=NOT_THERE,
        ),
        chart(
            "Bounds that were reached",
            "How often in this epoch each bound on what the allocator keeps was reached.",
            "none",
            (now("coordsvc_limits_met", "limit"), "{{application}} {{limit}}"),
            none=NOT_THERE,
        ),
        chart(
            "Spans that no collector got",
            "Of traces: left out because the collector is away or slow. Turns never wait for it.",
            "ops",
            (rate("coordsvc_spans_dropped_total"), "{{application}}"),
            none=OFF,
        ),
    ]
