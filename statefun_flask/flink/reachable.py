"""Checks that the addresses in a module accept connections, before a job waits for them."""

from __future__ import annotations

import collections.abc as cabc
import contextlib
import socket
import urllib.parse

from ..module_yaml import KafkaEgress
from ..module_yaml import KafkaIngress
from ..module_yaml import Module
from .errors import FlinkError

#: How long a connection may take, in seconds.
TIMEOUT = 3.0


def require_kafka(module: Module) -> None:
    """Raise if no broker listens at one of a module's Kafka addresses.

    :raises FlinkError: No broker listens; the message names the address and the remedy.
    """
    checked: set[str] = set()
    for what, id, address in _brokers(module):
        if address in checked:
            continue
        checked.add(address)
        if not any(map(_listens, address.split(","))):
            raise FlinkError(
                f"No broker listens at '{address}', the Kafka address of the {what} '{id}'. Start"
                " Kafka there, or add --kafka (kafka=True in Python) to start a broker with the"
                " job."
            )


def _brokers(module: Module) -> cabc.Iterator[tuple[str, str, str]]:
    """Yield the kind, the id and the address of every Kafka ingress and egress."""
    for part in (*module.ingresses, *module.egresses):
        if isinstance(part, KafkaIngress) and part.bootstrap is not None:
            yield "ingress", part.id, part.bootstrap
        elif isinstance(part, KafkaEgress):
            yield "egress", part.id, part.address


def require_endpoints(module: Module) -> None:
    """Raise if nothing listens at one of a module's endpoints.

    Unix sockets and hosts that depend on the function's name are not checked.

    :raises FlinkError: Nothing listens there; the message names the endpoint.
    """
    for endpoint in module.endpoints:
        parts = urllib.parse.urlsplit(endpoint.url)
        if parts.scheme.endswith("+unix") or "{" in parts.netloc:
            continue
        port = parts.port or {"http": 80, "https": 443}[parts.scheme]
        if not _listens(f"{parts.hostname}:{port}"):
            raise FlinkError(
                f"Nothing listens at '{endpoint.url}', the endpoint of '{endpoint.functions}'."
                " Start the app there, or leave out --no-serve to serve it with the job."
            )


def _listens(address: str) -> bool:
    host, _, port = address.strip().rpartition("://")[2].rpartition(":")
    # A property may hold anything, which is not checked as the field 'address' is.
    with contextlib.suppress(OSError, ValueError, OverflowError):
        socket.create_connection((host.strip("[]"), int(port)), TIMEOUT).close()
        return True
    return False
