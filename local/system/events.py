"""EventBridge on this machine: events pass the patterns of rules to their targets, in order."""

from __future__ import annotations

import json
import queue
import re
import threading
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, cast

from moto.events.models import EventPattern

from local.system.template import ACCOUNT, REGION, Rule, Target

Json = Any
Event = Mapping[str, Json]

Deliver = Callable[[str, Json], None]
"""Gets a target's ARN and its input."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """An event and the ARNs of its targets; none if no rule accepted it."""

    event: Event = field(repr=False)
    targets: tuple[str, ...]


class EventBus:
    """A bus with its rules. A separate thread delivers, so that a push does not wait."""

    def __init__(self, rules: Sequence[Rule], deliver: Deliver) -> None:
        self._rules = [(rule, EventPattern.load(rule.pattern)) for rule in rules if rule.enabled]
        self._deliver = deliver
        self._waiting: queue.Queue[Event | None] = queue.Queue()
        self._arrivals: list[Arrival] = []
        self._loses: Callable[[Event], bool] | None = None
        self.lost: list[Event] = []
        """Events that were lost on request."""
        self.errors: list[Exception] = []
        self._thread = threading.Thread(target=self._work, name="event-bus", daemon=True)
        self._thread.start()

    def put(self, event: Event) -> None:
        """Accept an event and return at once."""
        if self._loses is not None and self._loses(event):
            self.lost.append(event)
        else:
            self._waiting.put(event)

    def lose(self, chosen: Callable[[Event], bool]) -> None:
        """Lose the chosen events silently."""
        self._loses = chosen

    def heal(self) -> None:
        """Stop losing events."""
        self._loses = None

    def drain(self) -> None:
        """Wait until all events are delivered."""
        self._waiting.join()

    def close(self) -> None:
        """Deliver the waiting events, then stop."""
        self._waiting.put(None)
        self._thread.join()

    @property
    def arrivals(self) -> list[Arrival]:
        """All events so far, in order."""
        return list(self._arrivals)

    @property
    def dropped(self) -> list[Event]:
        """The events that no rule accepted."""
        return [arrival.event for arrival in self.arrivals if not arrival.targets]

    def targets_of(self, event: Event) -> list[tuple[str, Json]]:
        """Return the ARN and the input of each target of an event."""
        return [
            (target.arn, input_for(target, event))
            for rule, pattern in self._rules
            if pattern.matches_event(cast("Any", event))
            for target in rule.targets
        ]

    def _work(self) -> None:
        while (event := self._waiting.get()) is not None:
            try:
                targets = self.targets_of(event)
                self._arrivals.append(Arrival(event=event, targets=tuple(arn for arn, _ in targets)))
                for arn, input_ in targets:
                    self._deliver(arn, input_)
            except Exception as error:  # noqa: BLE001 - the bus goes on; its owner checks `errors`
                self.errors.append(error)
            finally:
                self._waiting.task_done()
        self._waiting.task_done()


def event_of(entry: Mapping[str, Json]) -> Event:
    """Return the event that rules see for an entry of PutEvents."""
    return {
        "version": "0",
        "id": str(uuid.uuid4()),
        "detail-type": entry["DetailType"],
        "source": entry["Source"],
        "account": ACCOUNT,
        "time": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "region": REGION,
        "resources": list(entry.get("Resources", ())),
        "detail": json.loads(entry["Detail"]),
    }


def input_for(target: Target, event: Event) -> Json:
    """Return the input of a target: the event, a part of it, a constant, or a filled template."""
    if target.input is not None:
        return json.loads(target.input)
    if target.input_path is not None:
        return _at(event, target.input_path)
    if target.input_template is None:
        return event
    values = {name: _at(event, path) for name, path in target.input_paths.items()}
    values["aws.events.event"] = event
    return json.loads(_fill(target.input_template, values))


def _fill(template: str, values: Mapping[str, Json]) -> str:
    """Replace `<name>` in a template by values: as text inside a string, elsewhere as JSON."""

    def value(match: re.Match[str]) -> str:
        name = match["name"]
        if name not in values:
            return match[0]
        text = json.dumps(values[name])
        inside_string = template[: match.start()].count('"') % 2 == 1
        return text[1:-1] if inside_string and isinstance(values[name], str) else text

    return re.sub(r"<(?P<name>[\w.-]+)>", value, template)


def _at(event: Event, path: str) -> Json:
    """Follow a path like `$.detail.image-tag`. A missing value is null, as in EventBridge."""
    value: Json = event
    for name in path.removeprefix("$").strip(".").split("."):
        if name:
            value = value.get(name) if isinstance(value, Mapping) else None
    return value
