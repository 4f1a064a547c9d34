"""The dashboard as a CloudWatch document: plain values, without the CDK.

    Alarms
    Images of the time shown (numbers)     | From push to index  | Not delivered
    Images by outcome                      | Skipped, by reason
    Failed, by reason       | From push to index | Layers, bytes
    Not delivered | Longest invocations | Missed by events | Estimated cost

Specification: CloudWatch API reference, "Dashboard body structure and syntax".
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from infra.watched import Series, Watched
from soci.service import metrics
from soci.service.metrics import Dimension
from soci.service.outcomes import Outcome

Document = dict[str, object]

COLUMNS = 24
PERIOD_SECONDS = 300
AGE, WAITING = "ApproximateAgeOfOldestMessage", "ApproximateNumberOfMessagesVisible"

_RED, _GREEN, _BLUE, _GREY, _ORANGE = "#d62728", "#2ca02c", "#1f77b4", "#7f7f7f", "#ff7f0e"
_COLORS = {
    Outcome.INDEXED: _GREEN,
    Outcome.TAGGED: _BLUE,
    Outcome.NOTHING_TO_INDEX: "#17becf",
    Outcome.SKIPPED: _GREY,
    Outcome.FAILED: _RED,
}
_STACKED: Document = {"view": "timeSeries", "stacked": True, "yAxis": {"left": {"min": 0}}}
_LINES: Document = {**_STACKED, "stacked": False}


def dashboard(watched: Watched, *, alarm_arns: Sequence[str], push_to_index_minutes: int) -> Document:
    """Return the body of the dashboard.

    Args:
        watched: the names of the stack's parts.
        alarm_arns: alarms for the first row; without any there is no such row.
        push_to_index_minutes: drawn as a limit line.
    """
    rows = [
        _numbers(watched),
        _outcomes(watched),
        _work(watched, push_to_index_minutes),
        _machinery(watched),
    ]
    if alarm_arns:
        rows.insert(0, [_alarms(alarm_arns)])
    return {"periodOverride": "inherit", "widgets": [*_placed(rows, watched.region)]}


def _placed(rows: Iterable[list[Document]], region: str) -> Iterator[Document]:
    """Give each widget its position. The widgets of a row share its width."""
    y = 0
    for row in rows:
        width = COLUMNS // sum(_share(widget) for widget in row)
        x = 0
        for widget in row:
            share = _share(widget)
            properties = {**_mapping(widget["properties"]), "region": region}
            if widget["type"] == "alarm":
                del properties["region"]
            yield {
                "type": widget["type"],
                "x": x,
                "y": y,
                "width": width * share,
                "height": widget["height"],
                "properties": properties,
            }
            x += width * share
        y += max(_number(widget["height"]) for widget in row)


def _alarms(arns: Sequence[str]) -> Document:
    return {"type": "alarm", "height": 3, "properties": {"title": "Alarms", "alarms": list(arns)}}


def _numbers(watched: Watched) -> list[Document]:
    images = [
        _line(watched.own(metrics.IMAGES_PUSHED, "Sum", label="pushed")),
        *(
            _line(watched.own(metrics.IMAGES, "Sum", label=str(outcome), outcome=outcome), _COLORS[outcome])
            for outcome in (Outcome.INDEXED, Outcome.SKIPPED, Outcome.FAILED)
        ),
    ]
    times = [_line(series) for series in _push_to_index(watched)]
    waiting = [_line(watched.queue(AGE, "oldest, seconds")), _line(watched.queue(WAITING, "events"))]
    return [
        _number_widget("Images", images, share=2),
        _number_widget("From push to index, seconds", times),
        _number_widget("Not delivered", waiting, whole_range=False),
    ]


def _outcomes(watched: Watched) -> list[Document]:
    by_outcome = [
        _line(watched.own(metrics.IMAGES, "Sum", label=str(outcome), outcome=outcome), _COLORS[outcome])
        for outcome in Outcome
    ]
    return [
        _widget("Images by outcome", by_outcome, _STACKED),
        _widget("Skipped, by reason", [_by_reason(watched, Outcome.SKIPPED)], _STACKED),
    ]


def _work(watched: Watched, push_to_index_minutes: int) -> list[Document]:
    limit = {"label": "alarm", "value": push_to_index_minutes * 60, "color": _RED}
    layers = [
        _line(watched.own(metrics.BYTES_STREAMED, "Sum", label="streamed"), _BLUE),
        _line(watched.own(metrics.BYTES_REUSED, "Sum", label="reused"), _GREEN),
    ]
    return [
        _widget("Failed, by reason", [_by_reason(watched, Outcome.FAILED)], _STACKED),
        _widget(
            "From push to index, seconds",
            [_line(series) for series in _push_to_index(watched)],
            {**_LINES, "annotations": {"horizontal": [limit]}},
        ),
        _widget("Layers, bytes", layers, _STACKED),
    ]


def _machinery(watched: Watched) -> list[Document]:
    waiting = [
        _line(watched.queue(AGE, "oldest, seconds"), _RED),
        _line(watched.queue(WAITING, "events"), _ORANGE),
    ]
    limit = {"label": "timeout", "value": 100, "color": _RED}
    missed = [_line(watched.own(metrics.IMAGES_MISSED, "Sum", label="found by the daily search"), _ORANGE)]
    cost = [_line(watched.own(metrics.ESTIMATED_COST, "Sum", label="US dollars"), _BLUE)]
    return [
        _widget("Not delivered", waiting, _LINES),
        _widget(
            "Invocations, % of timeout",
            [*_durations(watched)],
            {**_LINES, "annotations": {"horizontal": [limit]}},
        ),
        _widget("Images missed by events", missed, _STACKED),
        _widget("Estimated cost, US dollars", cost, _STACKED),
    ]


def _push_to_index(watched: Watched) -> list[Series]:
    metric = metrics.PUSH_TO_INDEX
    return [watched.own(metric, statistic, label=statistic) for statistic in ("p50", "p95")]


def _durations(watched: Watched) -> Iterator[list[object]]:
    for number, (name, function) in enumerate(watched.functions.items()):
        *metric, options = _line(watched.longest(name))
        yield [*metric, {**_mapping(options), "id": f"m{number}", "visible": False}]
        percent = f"m{number} / {function.timeout_seconds * 10}"  # from milliseconds
        yield [{"expression": percent, "id": f"e{number}", "label": name}]


def _by_reason(watched: Watched, outcome: Outcome) -> list[object]:
    """Return a search expression that draws one line for each reason."""
    metric = metrics.IMAGES
    dimensions = ",".join(sorted((Dimension.STACK, Dimension.OUTCOME, Dimension.REASON)))
    expression = (
        f'SEARCH(\'{{{metrics.NAMESPACE},{dimensions}}} MetricName="{metric.name}" '
        f'{Dimension.STACK}="{watched.stack}" {Dimension.OUTCOME}="{outcome}"\', \'Sum\', {PERIOD_SECONDS})'
    )
    return [{"expression": expression, "id": str(outcome), "label": f"${{PROP('Dim.{Dimension.REASON}')}}"}]


def _line(series: Series, color: str | None = None) -> list[object]:
    options = {"stat": series.statistic}
    if series.label:
        options["label"] = series.label
    if color:
        options["color"] = color
    names = (part for dimension in series.dimensions.items() for part in dimension)
    return [series.namespace, series.metric, *names, options]


def _number_widget(
    title: str, lines: list[list[object]], *, share: int = 1, whole_range: bool = True
) -> Document:
    view = {"view": "singleValue", "sparkline": True, "setPeriodToTimeRange": whole_range}
    return {**_widget(title, lines, view), "height": 4, "share": share}


def _widget(title: str, lines: list[list[object]], view: Document) -> Document:
    properties = {"title": title, "metrics": lines, "period": PERIOD_SECONDS, **view}
    return {"type": "metric", "height": 6, "properties": properties}


def _share(widget: Document) -> int:
    return _number(widget.get("share", 1))


def _number(value: object) -> int:
    assert isinstance(value, int)  # noqa: S101 - tells the type checker
    return value


def _mapping(value: object) -> Document:
    assert isinstance(value, dict)  # noqa: S101 - tells the type checker
    return value
