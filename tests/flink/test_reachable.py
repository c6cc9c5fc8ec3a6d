"""Addresses that accept connections, and addresses that do not."""

from __future__ import annotations

import collections.abc as cabc
import socket

import pytest

from statefun_flask.flink import FlinkError
from statefun_flask.flink.ports import free
from statefun_flask.flink.reachable import require_endpoints
from statefun_flask.flink.reachable import require_kafka
from statefun_flask.module_yaml import HttpEndpoint
from statefun_flask.module_yaml import KafkaEgress
from statefun_flask.module_yaml import KafkaIngress
from statefun_flask.module_yaml import Module


@pytest.fixture
def listening() -> cabc.Iterator[str]:
    """Return the host and port of a socket that listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"127.0.0.1:{server.getsockname()[1]}"


def kafka(*addresses: str) -> Module:
    parts = (KafkaEgress(id=f"a/out{i}", address=each) for i, each in enumerate(addresses))
    return Module("3.1", tuple(parts))


def endpoint(url: str) -> Module:
    return Module("3.1", (HttpEndpoint(functions="a/*", url=url),))


def test_one_broker_of_an_address_is_enough(listening: str) -> None:
    closed = f"127.0.0.1:{free(1)[0]}"
    require_kafka(kafka(listening))
    require_kafka(kafka(f"{closed}, PLAINTEXT://{listening}"))
    require_kafka(Module("3.1", ()))


def test_every_address_needs_a_broker(listening: str) -> None:
    closed = f"127.0.0.1:{free(1)[0]}"
    with pytest.raises(FlinkError, match=f"'{closed}', the Kafka address of the egress 'a/out1'"):
        require_kafka(kafka(listening, closed))


@pytest.mark.parametrize("address", ["nowhere", "h:x", "127.0.0.1:99999", "a..b:1", "", "[::1"])
def test_an_address_of_a_property_may_be_anything(address: str) -> None:
    properties = (("bootstrap.servers", address),)
    module = Module("3.1", (KafkaIngress(id="a/in", properties=properties),))
    with pytest.raises(FlinkError, match="the Kafka address of the ingress 'a/in'"):
        require_kafka(module)


def test_an_endpoint_that_listens_is_accepted(listening: str) -> None:
    require_endpoints(endpoint(f"http://{listening}/{{function.name}}"))


def test_endpoints_that_cannot_be_checked_are_accepted() -> None:
    require_endpoints(endpoint("http://{function.name}.example/statefun"))
    require_endpoints(endpoint("http+unix:///nowhere.sock/statefun"))


def test_an_endpoint_that_does_not_listen_is_refused() -> None:
    url = f"http://127.0.0.1:{free(1)[0]}/statefun"
    with pytest.raises(FlinkError) as info:
        require_endpoints(endpoint(url))
    assert str(info.value) == (
        f"Nothing listens at '{url}', the endpoint of 'a/*'. Start the app there, or leave out"
        " --no-serve to serve it with the job."
    )
