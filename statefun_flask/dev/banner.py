"""The start screen of ``flask statefun dev``."""

from __future__ import annotations

import collections.abc as cabc
import dataclasses
import datetime as dt
import decimal
import enum
import importlib.metadata
import json
import typing as t
import uuid

import click

from ..core.function import StatefulFunction
from ..core.registry import functions_of
from ..values.types import is_protobuf
from ..values.types import STRING
from ..values.types import Type
from .session import Session

_SAMPLES: dict[str, object] = {"str": "bob", "int": 1, "float": 1.5, "bool": True}

#: The same for the classes whose values travel as JSON.
_JSON_SAMPLES: dict[object, object] = {
    dict: {},
    list: [],
    set: [],
    frozenset: [],
    dt.datetime: "2026-01-31T12:00:00Z",
    dt.date: "2026-01-31",
    dt.time: "12:00:00",
    dt.timedelta: "PT10S",
    decimal.Decimal: "1.50",
    uuid.UUID: "00000000-0000-4000-8000-000000000000",
}


def lines(session: Session, data: str) -> cabc.Iterator[str]:
    """Yield the lines of the start screen.

    :param data: A description of where the data is.
    """
    version = importlib.metadata.version("statefun-flask")
    title = click.style(f"statefun_flask {version}", bold=True)
    yield f" {title} · embedded engine, for development (Flink runs it in production)"

    shown = ""
    for name, text in _rows(session, data):
        label = "" if name == shown else name
        yield f" {click.style(label.ljust(11), fg='cyan')} {text}"
        shown = name
    yield ""


def _rows(session: Session, data: str) -> cabc.Iterator[tuple[str, str]]:
    registry = session.registry
    functions = [each for typename in registry for each in functions_of(registry, typename)]
    width = max((len(each.typename) for each in functions), default=0)
    for each in functions:
        yield "Functions", f"{each.typename.ljust(width)}  {_takes(each)}{_states(each)}"
    if not functions:
        yield "Functions", "none; register one with @app.statefun('namespace/name')"

    if session.children is not None:
        count = len(session.children.urls)
        yield "Isolated", f"in {count} child process{'es' * (count != 1)}"
    yield "Data", data
    if session.options.module is not None:
        yield "Module", session.options.module
    yield from _kafka(session)
    yield "Listening", session.url
    if functions:
        first = functions[0]
        yield "Try", f"curl -X PUT {session.url}/{first.typename}/bob -d '{_sample(first)}'"


def _kafka(session: Session) -> cabc.Iterator[tuple[str, str]]:
    topics = session.topics()
    listed = ", ".join(f"{topic} -> {', '.join(to)}" for topic, (_, to) in topics.items())
    if session.links is None:
        feed = "--kafka HOST:PORT connects them, PUT /-/topic/TOPIC/KEY sends by hand"
        if topics:
            yield "Kafka", f"not connected ({listed}; {feed})"
        return
    where = ", ".join(session.links.brokers)
    yield "Kafka", f"{where}{f' ({listed})' if listed else ''}"
    for egress in session.links.egresses:
        if egress.part.delivery == "exactly-once":
            yield "Kafka", f"{egress.part.id} is at-least-once here; 'statefun-seq' shows repeats"


def _takes(function: StatefulFunction) -> str:
    labels = [type.label for type in function.signature.types]
    return ", ".join(labels + ["any"] * (function.signature.catch_all is not None))


def _states(function: StatefulFunction) -> str:
    states = ", ".join(map(str, function.states))
    return f"     states: {states}" if states else ""


def _sample(function: StatefulFunction) -> str:
    """Return an example of a body that the function accepts."""
    types = function.signature.types
    if not types:
        return "…"
    return _sample_of(types[0])


def _sample_of(type: Type[t.Any]) -> str:
    python = type.python
    if python in (str, bytes):
        return "hello"
    if python in (int, float, bool):
        return json.dumps(_SAMPLES[python.__name__])
    origin = t.get_origin(python) or python
    if origin in _JSON_SAMPLES:
        return json.dumps(_JSON_SAMPLES[origin])
    if isinstance(python, enum.EnumMeta):
        value: object = next(iter(t.cast("cabc.Iterable[enum.Enum]", python))).value
        return str(value) if type.typename == STRING.typename else json.dumps(value)
    fields: dict[str, object]
    if is_protobuf(python):
        fields = {
            each.name: "bob" for each in python.DESCRIPTOR.fields if each.type == each.TYPE_STRING
        }
    elif dataclasses.is_dataclass(python):
        fields = {
            each.name: _SAMPLES[_name(each.type)]
            for each in dataclasses.fields(python)
            if _name(each.type) in _SAMPLES
        }
    else:
        annotations = getattr(python, "__annotations__", {})
        fields = {
            name: _SAMPLES[_name(each)]
            for name, each in annotations.items()
            if _name(each) in _SAMPLES
        }
    return json.dumps(fields) if fields else "…"


def _name(annotation: t.Any) -> str:
    return annotation if isinstance(annotation, str) else getattr(annotation, "__name__", "")
