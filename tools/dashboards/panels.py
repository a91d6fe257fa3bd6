"""Panels: a title, what it tells and what to do about it, a unit, and one or more expressions."""

from grafana_foundation_sdk.builders import (
    bargauge,
    common,
    dashboard,
    prometheus,
    stat,
    timeseries,
)
from grafana_foundation_sdk.models.common import (
    BarGaugeDisplayMode,
    BigValueColorMode,
    BigValueGraphMode,
    GraphThresholdsStyleMode,
    LegendDisplayMode,
    LegendPlacement,
    StackingMode,
    TooltipDisplayMode,
    VisibilityMode,
    VizOrientation,
)
from grafana_foundation_sdk.models.dashboard import (
    DataSourceRef,
    Threshold,
    ThresholdsMode,
    ValueMap,
    ValueMappingResult,
)

SOURCE = DataSourceRef(type_val="prometheus", uid="${datasource}")
NOBODY_TALKS = "no turns"
"""What is shown where there is no value because there were no turns."""
NOT_THERE = "none"
"""What is shown where nothing of that kind exists."""
OFF = "off"
"""What is shown of a part that is switched off."""
COLOURS = ("green", "yellow", "red")

Line = tuple[str, str]
"""An expression, and what its legend says."""
Figure = stat.Panel
Chart = timeseries.Panel
Panel = stat.Panel | timeseries.Panel | bargauge.Panel


def figure(
    title: str,
    tells: str,
    unit: str,
    *lines: Line,
    limits: tuple[float, ...] = (),
    none: str = NOBODY_TALKS,
    words: dict[int, str] | None = None,
) -> Figure:
    """Return one large figure: green up to the first limit, then yellow, then red."""
    panel = (
        stat.Panel()
        .title(title)
        .description(tells)
        .datasource(SOURCE)
        .unit(unit)
        .span(4)
        .height(5)
        .no_value(none)
        .thresholds(_thresholds(limits))
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
        .graph_mode(BigValueGraphMode.AREA)
        .color_mode(BigValueColorMode.VALUE)
    )
    if words:
        panel.mappings([ValueMap(options={str(n): _result(n, said) for n, said in words.items()})])
    for number, line in enumerate(lines):
        panel.with_target(_target(number, line))
    return panel


def chart(
    title: str,
    tells: str,
    unit: str,
    *lines: Line,
    limits: tuple[float, ...] = (),
    none: str = NOBODY_TALKS,
    stacked: StackingMode = StackingMode.NONE,
) -> Chart:
    """Return lines over time; limits are drawn as dashed lines."""
    legend = (
        common.VizLegendOptions()
        .display_mode(LegendDisplayMode.TABLE)
        .placement(LegendPlacement.BOTTOM)
        .show_legend(True)  # noqa: FBT003 - the builder's own way
        .calcs(["lastNotNull", "max"])
    )
    panel = (
        timeseries.Panel()
        .title(title)
        .description(tells)
        .datasource(SOURCE)
        .unit(unit)
        .span(8)
        .height(9)
        .min(0)
        .no_value(none)
        .legend(legend)
        .tooltip(common.VizTooltipOptions().mode(TooltipDisplayMode.MULTI))
        .show_points(VisibilityMode.NEVER)
        .line_width(1)
        .fill_opacity(0 if stacked is StackingMode.NONE else 40)
        .stacking(common.StackingConfig().mode(stacked))
        .thresholds(_thresholds(limits))
    )
    if limits:
        dashed = common.GraphThresholdsStyleConfig().mode(GraphThresholdsStyleMode.DASHED)
        panel.thresholds_style(dashed)
    for number, line in enumerate(lines):
        panel.with_target(_target(number, line))
    return panel


def bars(title: str, tells: str, unit: str, line: Line, none: str = NOBODY_TALKS) -> bargauge.Panel:
    """Return the present values side by side, as bars."""
    return (
        bargauge.Panel()
        .title(title)
        .description(tells)
        .datasource(SOURCE)
        .unit(unit)
        .span(8)
        .height(9)
        .min(0)
        .no_value(none)
        .orientation(VizOrientation.HORIZONTAL)
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
        .display_mode(BarGaugeDisplayMode.BASIC)
        .thresholds(_thresholds(()))
        .with_target(_target(0, line).instant())
    )


def _target(number: int, line: Line) -> prometheus.Dataquery:
    expr, legend = line
    return (
        prometheus.Dataquery()
        .expr(expr)
        .legend_format(legend)
        .ref_id(chr(ord("A") + number))
        .datasource(SOURCE)
        .range()
    )


def _thresholds(limits: tuple[float, ...]) -> dashboard.ThresholdsConfig:
    """Return green, and from each limit on the next colour; from a single one on, red."""
    colours = COLOURS[1:] if len(limits) > 1 else COLOURS[-1:]
    steps = [Threshold(value=None, color=COLOURS[0])]
    steps += [
        Threshold(value=at, color=colour) for at, colour in zip(limits, colours, strict=False)
    ]
    return dashboard.ThresholdsConfig().mode(ThresholdsMode.ABSOLUTE).steps(steps)


def _result(number: int, said: str) -> ValueMappingResult:
    return ValueMappingResult(text=said, color=COLOURS[min(number, 2)], index=number)
