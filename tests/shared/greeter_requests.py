"""Requests for the greeter of the examples."""

from __future__ import annotations

from greeter_pb2 import GreetRequest
from to_function import request_bytes


def request_of(name: str, times: int) -> bytes:
    """Return a request with several messages for the greeter of a name, which has no state yet."""
    messages = [GreetRequest(name=name)] * times
    return request_bytes(*messages, target="example/greeter", id=name, states={"seen_count": None})
