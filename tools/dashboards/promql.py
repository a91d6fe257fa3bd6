"""The expressions of the panels, put together so that each filters and groups alike.

Every selector filters by cluster, namespace, application and job; every aggregation keeps the
first three. So two clusters are never added up without a word, and a label that scraping does not
give does no harm: a matcher `=~".*"` also matches a label that is not there.
"""

APART = ("cluster", "namespace", "application")
"""What is never added up."""
SCOPE = (*APART, "job")
"""Labels with a variable of the same name, by which every selector filters."""
AGENT = 'agent=~"$agent"'
TURNS = "coordsvc_turn_seconds"
C_COORD = "coordsvc_c_coord_seconds"
PARTS = "coordsvc_c_coord_part_seconds_total"


def of(metric: str, *matchers: str) -> str:
    """Return the selector of a metric."""
    filters = [f'{label}=~"${label}"' for label in SCOPE]
    return f"{metric}{{{', '.join([*filters, *matchers])}}}"


def by(*labels: str) -> str:
    """Return the labels that an aggregation keeps."""
    return f"by ({', '.join([*APART, *labels])})"


def rate(counter: str, *labels: str, only: tuple[str, ...] = ()) -> str:
    """Return a counter's growth a second."""
    return f"sum {by(*labels)} (rate({of(counter, *only)}[$__rate_interval]))"


def now(gauge: str, *labels: str, only: tuple[str, ...] = ()) -> str:
    """Return a gauge; of two of the same labels, as at a restart, the larger one."""
    return f"max {by(*labels)} ({of(gauge, *only)})"


def quantile(of_all: float, histogram: str) -> str:
    """Return a quantile by mix; nothing where nobody talked, for a NaN is no time."""
    return f"histogram_quantile({of_all}, {rate(f'{histogram}_bucket', 'mix', 'le')}) > 0"


def per_turn(counter: str, *labels: str, only: tuple[str, ...] = ()) -> str:
    """Return what came on one turn of a counter; nothing where nobody talked."""
    over = f" ignoring ({', '.join(labels)}) group_left ()" if labels else ""
    return f"{rate(counter, *labels, only=only)} /{over} ({rate(f'{TURNS}_count')} > 0)"


def part_of(share: str, whole: str) -> str:
    """Return a share of a whole; nothing where there is no whole."""
    return f"{share} / ({whole} > 0)"


def or_none(some: str, of_all: str) -> str:
    """Return some of what there is, and 0 where there is none of it but others are."""
    return f"({some} or 0 * {of_all})"
