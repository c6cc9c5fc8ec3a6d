"""Checks of a component whose fields are all valid."""

from __future__ import annotations

import collections.abc as cabc
import datetime as dt
import re
import typing as t
import urllib.parse

from ..values.state import RESERVED
from . import model
from .durations import written
from .nodes import Mapping
from .nodes import Node
from .nodes import Report
from .nodes import Sequence

#: A check of a component and its spec, which adds findings to the report.
Rule: t.TypeAlias = cabc.Callable[[t.Any, Mapping, Report], None]

_SCHEMES = ("http", "https", "http+unix", "https+unix")
_BRACES = re.compile(r"\{[^}]*\}?|\}")
_ILLEGAL = re.compile(r"[\s<>\"\\^`|\x00-\x1f]")
_BROKER = re.compile(r"([A-Z]+://)?[^\s:/,]+:\d+|([A-Z]+://)?\[[\da-fA-F:.]+\]:\d+")

#: The names of the timeouts of a request in the formats.
_TIMEOUTS = {
    "call": ("call", "timeout"),
    "connect": ("connect", "connectTimeout"),
    "read": ("read", "readTimeout"),
    "write": ("write", "writeTimeout"),
}
_TRANSACTION_TIMEOUTS = ("transactionTimeout", "transactionTimeoutMillis")
_BROKER_LIMIT = dt.timedelta(minutes=15)


def url(endpoint: model.HttpEndpoint, spec: Mapping, report: Report) -> None:
    """Check the URL."""
    node = spec.at("urlPathTemplate") if "urlPathTemplate" in spec.values else spec.at("endpoint")
    for braces in _BRACES.finditer(endpoint.url):
        if report.version in model.V2_VERSIONS:
            report.error(
                node,
                "bad-template",
                f"'{braces[0]}' is not replaced in format {report.version}.",
                "Write the whole URL.",
            )
            return
        if braces[0] != "{function.name}":
            report.error(
                node,
                "bad-template",
                f"'{braces[0]}' is not replaced; only '{{function.name}}' is.",
                "Write '{function.name}', or the value.",
            )
            return
    plain = endpoint.url_for("ns/name")
    try:
        parts = urllib.parse.urlsplit(plain)
        _ = parts.port
    except ValueError as exc:
        report.error(node, "bad-url", f"'{endpoint.url}' is not a URL: {exc}.", "Correct the URL.")
        return
    if illegal := _ILLEGAL.search(plain):
        report.error(
            node,
            "bad-url",
            f"'{endpoint.url}' is not a URL: {illegal[0]!r} is not allowed in it.",
            "Write the URL without it.",
        )
    elif parts.scheme not in _SCHEMES:
        report.error(
            node,
            "bad-scheme",
            f"'{endpoint.url}' does not begin with {', '.join(f'{s}://' for s in _SCHEMES[:-1])} or"
            f" {_SCHEMES[-1]}://.",
            f"Write 'http://{endpoint.url.rpartition('://')[2]}'.",
        )
    elif not parts.scheme.endswith("+unix") and not parts.hostname:
        report.error(
            node, "bad-url", f"'{endpoint.url}' has no host.", "Write 'http://host:port/path'."
        )
    elif endpoint.transport == "async":
        _check_for_async(endpoint, parts, node, report)


def _check_for_async(
    endpoint: model.HttpEndpoint, parts: urllib.parse.SplitResult, node: Node, report: Report
) -> None:
    if parts.scheme.endswith("+unix"):
        report.error(
            node,
            "unix-socket",
            f"'{endpoint.url}' is a Unix socket, to which the async transport cannot connect.",
            "Write 'transport: {type: io.statefun.transports.v1/okhttp}' beside it.",
        )
    elif re.search(r"\s", urllib.parse.unquote(parts.path)):
        report.error(
            node,
            "encoded-space",
            f"'{endpoint.url}' has an encoded space, which the async transport decodes.",
            "Use a path without spaces.",
        )
    elif parts.fragment:
        report.warning(
            node,
            "fragment",
            f"'#{parts.fragment}' is sent to the server as part of the path.",
            "Remove it.",
        )


def batch(endpoint: model.HttpEndpoint, spec: Mapping, report: Report) -> None:
    """Check the number of messages in a request."""
    if endpoint.max_batch <= 0:
        report.warning(
            spec.at("maxNumBatchRequests"),
            "no-limit",
            f"{endpoint.max_batch} turns the limit off, so a request can be of any size.",
            "Write a number from 1; 1000 is the default.",
        )


def okhttp_timeouts(endpoint: model.HttpEndpoint, spec: Mapping, report: Report) -> None:
    """Check that no timeout is longer than that of the whole call."""
    if endpoint.transport != "okhttp":
        return
    call = endpoint.call_timeout
    for name in ("connect", "read", "write"):
        given = getattr(endpoint, name)
        if (given or dt.timedelta(seconds=10)) <= call:
            continue
        field = _TIMEOUTS[name][report.version in model.V2_VERSIONS]
        shown = f"{written(given)}" if given else "10s by default"
        report.error(
            _timeout(spec, name if given else "call"),
            "timeouts",
            f"'{field}' is {shown}, longer than the {written(call)} of the whole call.",
            f"Write '{field}: {written(call)}' or less, or let the call take longer.",
        )


def _timeout(spec: Mapping, name: str) -> Node:
    for path in (("transport", "timeouts"), ("timeouts",), ()):
        around = spec.at(*path)
        for field in _TIMEOUTS[name]:
            if isinstance(around, Mapping) and field in around.values:
                return around.values[field]
    return spec


def async_timeouts(endpoint: model.HttpEndpoint, spec: Mapping, report: Report) -> None:
    """Check that timeouts are not written in two forms."""
    transport = spec.get("transport")
    if endpoint.transport != "async" or not isinstance(transport, Mapping):
        return
    for name in ("call", "connect"):
        if "timeouts" in transport.values and name in transport.values:
            report.warning(
                transport.keys[name],
                "overridden",
                f"'timeouts' takes precedence over '{name}', which the runtime ignores.",
                f"Move '{name}' into 'timeouts', or remove 'timeouts'.",
            )


def tls(endpoint: model.HttpEndpoint, spec: Mapping, report: Report) -> None:
    """Check the certificates."""
    names = ("trust_cacerts", "client_cert", "client_key", "client_key_password")
    given = {name: value for name in names if (value := getattr(endpoint, name)) is not None}
    for name, needed in (
        ("client_cert", "client_key"),
        ("client_key", "client_cert"),
        ("client_key_password", "client_key"),
    ):
        if name in given and needed not in given:
            report.error(
                spec.at("transport", name),
                "half-tls",
                f"'{name}' has no effect without '{needed}'.",
                f"Write '{needed}: …' beside it.",
            )
    for name, path in given.items():
        if path.startswith("~"):
            report.error(
                spec.at("transport", name),
                "home",
                f"'{path}' begins with a '~', which is not expanded.",
                "Write the whole path.",
            )
    if given and not endpoint.url.startswith("https"):
        name = next(iter(given))
        report.warning(
            spec.at("transport", name),
            "no-tls",
            f"'{name}' has no effect for '{endpoint.url}', which is not https.",
            "Write an https URL, or remove it.",
        )


def states(endpoint: model.HttpEndpoint, spec: Mapping, report: Report) -> None:
    """Check the states of a function."""
    seen: dict[str, Node] = {}
    for state in endpoint.states or ():
        place = state.place("name")
        if state.name in seen:
            report.error(
                place,
                "duplicate-state",
                f"The state '{state.name}' appears twice, first on line {seen[state.name].line}.",
                "Remove one of them.",
            )
        seen.setdefault(state.name, place)
        if state.name in RESERVED:
            report.error(
                place,
                "reserved-state",
                f"'{state.name}' is a name that the runtime reserves.",
                "Choose another name.",
            )
        mode = state.place("expireMode")
        if state.expire_after is None and mode is not state.node:
            report.warning(
                mode,
                "never-expires",
                "'expireMode' has no effect without 'expireAfter': the state never expires.",
                "Write 'expireAfter: …' beside it, or remove it.",
            )


def kafka_settings(
    part: model.KafkaIngress | model.KafkaEgress, spec: Mapping, report: Report
) -> None:
    """Check the brokers, and that no property repeats a field."""
    named = {"bootstrap.servers": "address", "group.id": "consumerGroupId"}
    node = spec.get("properties")
    seen: dict[str, int] = {}
    for item in node.items if isinstance(node, Sequence) else ():
        key = next(iter(item.values), "") if isinstance(item, Mapping) else ""
        if key in seen:
            report.warning(
                item,
                "duplicate-property",
                f"The property '{key}' appears twice, on lines {seen[key]} and {item.line}.",
                "Remove one of them.",
            )
        seen.setdefault(key, item.line)
        if spec.get(named.get(key, "")) is not None:
            report.warning(
                item,
                "overridden",
                f"'{named[key]}' takes precedence over the property '{key}', which is ignored.",
                "Remove one of them.",
            )
    address = part.address
    wrong = [each for each in (address or "").split(",") if not _BROKER.fullmatch(each.strip())]
    if address is not None and wrong:
        report.error(
            spec.at("address"),
            "bad-address",
            f"'{wrong[0].strip()}' is not the address of a broker.",
            f"Write '{wrong[0].strip().rpartition('/')[2].rstrip(':') or 'host'}:9092'.",
        )


def kafka_ingress(ingress: model.KafkaIngress, spec: Mapping, report: Report) -> None:
    """Check that the address and the group are in a field or in a property."""
    for name, value, key in (
        ("address", ingress.bootstrap, "bootstrap.servers"),
        ("consumerGroupId", ingress.consumer_group, "group.id"),
    ):
        if value is None and (spec.get(name) is None):
            report.error(
                spec,
                "missing",
                f"'{name}' is missing, and no property '{key}' takes its place.",
                f"Write '{name}: …'.",
            )


def topics(
    ingress: model.KafkaIngress | model.KinesisIngress, spec: Mapping, report: Report
) -> None:
    """Check that no topic is read twice."""
    field = "topic" if isinstance(ingress, model.KafkaIngress) else "stream"
    seen: dict[str, int] = {}
    for topic in ingress.topics:
        place = topic.place(field)
        if topic.topic in seen:
            report.error(
                place,
                "duplicate-topic",
                f"The {field} '{topic.topic}' appears twice, on lines {seen[topic.topic]} and"
                f" {place.line}; the runtime uses only the last.",
                "Write all targets in one of them.",
            )
        seen.setdefault(topic.topic, place.line)


def delivery(egress: model.KafkaEgress, spec: Mapping, report: Report) -> None:
    """Check the transactions of exactly-once."""
    if egress.delivery != "exactly-once":
        return
    node = spec.at("deliverySemantic")
    given: list[str] = []
    if isinstance(node, Mapping):
        given = [name for name in _TRANSACTION_TIMEOUTS if node.get(name) is not None]
    field = "transactionTimeout" + ("" if report.version == "3.1" else "Millis")
    if not given:
        report.error(
            node,
            "missing",
            f"'{field}' is missing, which exactly-once needs.",
            f"Write '{field}: {'15min' if report.version == '3.1' else '900000'}'.",
        )
    elif len(given) > 1:
        report.warning(
            spec.at("deliverySemantic", "transactionTimeout"),
            "overridden",
            "'transactionTimeoutMillis' takes precedence over 'transactionTimeout', which is"
            " ignored.",
            "Remove 'transactionTimeoutMillis'.",
        )
    span = egress.transaction_timeout
    if span is not None and span > _BROKER_LIMIT:
        report.warning(
            spec.at("deliverySemantic", given[-1]),
            "long-transaction",
            f"{written(span)} is longer than the 15min that brokers allow by default.",
            "Write '15min' or less, or raise transaction.max.timeout.ms on the broker.",
        )
